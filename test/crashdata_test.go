package test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crashLoad is one kind of work that goes on while the server is killed. Each has
// resources of its own and is used by one goroutine at a time.
type crashLoad interface {
	// step does one thing and remembers what the server acknowledged. An error
	// means that it is not known whether the thing was done.
	step(ctx context.Context, c *crashClient, rnd *rand.Rand) error
	// verify says what of all that was acknowledged is missing or damaged. What was
	// not known before is settled by what is found.
	verify(ctx context.Context, c *crashClient) error
}

// crashClient is what loads use to talk to the server.
type crashClient struct {
	*wire
	flat, tree string // SAS of the two storage accounts
}

const (
	crashFlat  = "https://stcrash001.blob.core.windows.net/box/"
	crashTree  = "https://stcrash002.dfs.core.windows.net/box/"
	crashVault = "https://kv-crash-001.vault.azure.net/secrets/"
)

// blob sends a request to the flat account, and dfs to the one with a hierarchy.
func (c *crashClient) blob(ctx context.Context, method, path, query, body string, header ...string) (answer, error) {
	return c.storage(ctx, method, crashFlat+path, query, c.flat, body, header)
}

func (c *crashClient) dfs(ctx context.Context, method, path, query, body string, header ...string) (answer, error) {
	return c.storage(ctx, method, crashTree+path, query, c.tree, body, header)
}

func (c *crashClient) storage(ctx context.Context, method, target, query, sas, body string, header []string) (answer, error) {
	h := map[string]string{"x-ms-version": "2023-11-03"}
	for i := 0; i < len(header); i += 2 {
		h[header[i]] = header[i+1]
	}
	if query != "" {
		query += "&"
	}
	return c.do(ctx, "", method, target+"?"+query+sas, h, body)
}

// refused is an error that is an answer: the request was not done, and should have
// been.
type refused struct{ error }

// acked makes an answer other than those wanted an error.
func acked(a answer, err error, status ...int) error {
	if err == nil && !slices.Contains(status, a.status) {
		return refused{fmt.Errorf("HTTP %d %s", a.status, a.body)}
	}
	return err
}

// crashLoads are all kinds, three of each but the vault's.
func crashLoads() (all []crashLoad) {
	for i := range 3 {
		n := fmt.Sprint(i)
		all = append(all,
			&putLoad{states: states{prefix: "put" + n + "/"}}, &blockLoad{states: states{prefix: "blocks" + n + "/"}},
			&appendLoad{name: "append" + n}, &pageLoad{name: "pages" + n}, &renameLoad{name: "move" + n},
			&tagLoad{name: "tagged" + n}, &leaseLoad{name: "leased" + n}, &copyLoad{states: states{prefix: "copies" + n + "/"}},
			&imageLoad{repo: "images" + n})
	}
	return append(all, &secretLoad{name: "secret-0"})
}

// states are blobs of which each is in one of a few states: the one acknowledged
// last, and those that were under way when the server was killed. Each state is a
// number that the content shows; 0 is that there is none.
type states struct {
	prefix string
	next   int
	known  map[string][]int
}

// body is the content of state n: it differs in every line and in length.
func (s *states) body(n int) string {
	line := fmt.Sprintf("%s state %d\n", s.prefix, n)
	return strings.Repeat(line, 1+n*n*37%3000)
}

// write does op, which takes name to a new state, or to none when gone is set.
func (s *states) write(name string, gone bool, op func(n int) error) error {
	if s.known == nil {
		s.known = map[string][]int{}
	}
	n := 0
	if !gone {
		s.next++
		n = s.next
	}
	if len(s.known[name]) == 0 {
		s.known[name] = []int{0}
	}
	s.known[name] = append(s.known[name], n)
	err := op(n)
	if err == nil {
		s.known[name] = []int{n}
	}
	return err
}

func (s *states) verify(ctx context.Context, c *crashClient) error {
	for name, may := range s.known {
		a, err := c.blob(ctx, http.MethodGet, s.prefix+name, "", "")
		if err != nil {
			return err
		}
		i := slices.IndexFunc(may, func(n int) bool {
			return n == 0 && a.status == 404 || n != 0 && a.status == 200 && string(a.body) == s.body(n)
		})
		if i < 0 {
			head, _, _ := strings.Cut(string(a.body), "\n")
			return fmt.Errorf("%s%s is HTTP %d, %d bytes of %q; it may be in states %v", s.prefix, name, a.status, len(a.body), head, may)
		}
		s.known[name] = []int{may[i]}
	}
	return nil
}

// putLoad puts and deletes blobs.
type putLoad struct{ states }

func (l *putLoad) step(ctx context.Context, c *crashClient, rnd *rand.Rand) error {
	name := fmt.Sprint(rnd.IntN(4))
	if rnd.IntN(4) == 0 {
		return l.write(name, true, func(int) error {
			a, err := c.blob(ctx, http.MethodDelete, l.prefix+name, "", "")
			return acked(a, err, 202, 404)
		})
	}
	return l.write(name, false, func(n int) error {
		a, err := c.blob(ctx, http.MethodPut, l.prefix+name, "", l.body(n), "x-ms-blob-type", "BlockBlob")
		return acked(a, err, 201)
	})
}

// blockLoad makes blobs of blocks.
type blockLoad struct{ states }

func (l *blockLoad) step(ctx context.Context, c *crashClient, rnd *rand.Rand) error {
	name := fmt.Sprint(rnd.IntN(3))
	return l.write(name, false, func(n int) error {
		body, list := l.body(n), "<BlockList>"
		for i := 0; len(body) > 0; i++ {
			part := body[:min(len(body), 1+rnd.IntN(40_000))]
			body = body[len(part):]
			id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%06d", i))
			a, err := c.blob(ctx, http.MethodPut, l.prefix+name, "comp=block&blockid="+url.QueryEscape(id), part)
			if err := acked(a, err, 201); err != nil {
				return err
			}
			list += "<Uncommitted>" + id + "</Uncommitted>"
		}
		a, err := c.blob(ctx, http.MethodPut, l.prefix+name, "comp=blocklist", list+"</BlockList>")
		return acked(a, err, 201)
	})
}

// copyLoad puts a blob and copies it.
type copyLoad struct{ states }

func (l *copyLoad) step(ctx context.Context, c *crashClient, rnd *rand.Rand) error {
	return l.write("to", false, func(n int) error {
		from := fmt.Sprintf("%sfrom%d", l.prefix, n%2)
		a, err := c.blob(ctx, http.MethodPut, from, "", l.body(n), "x-ms-blob-type", "BlockBlob")
		if err := acked(a, err, 201); err != nil {
			return err
		}
		a, err = c.blob(ctx, http.MethodPut, l.prefix+"to", "", "", "x-ms-copy-source", crashFlat+from+"?"+c.flat)
		return acked(a, err, 202)
	})
}

// appendLoad appends lines to a blob.
type appendLoad struct {
	name  string
	text  string
	doubt string
	n     int
}

func (l *appendLoad) step(ctx context.Context, c *crashClient, rnd *rand.Rand) error {
	if l.text == "" {
		a, err := c.blob(ctx, http.MethodPut, l.name, "", "", "x-ms-blob-type", "AppendBlob", "If-None-Match", "*")
		if err := acked(a, err, 201, 409); err != nil {
			return err
		}
	}
	l.n++
	l.doubt = strings.Repeat(fmt.Sprintf("line %d\n", l.n), 1+rnd.IntN(3000))
	a, err := c.blob(ctx, http.MethodPut, l.name, "comp=appendblock", l.doubt)
	if err = acked(a, err, 201); err == nil {
		l.text, l.doubt = l.text+l.doubt, ""
	}
	return err
}

func (l *appendLoad) verify(ctx context.Context, c *crashClient) error {
	a, err := c.blob(ctx, http.MethodGet, l.name, "", "")
	if err != nil {
		return err
	}
	switch got := string(a.body); {
	case a.status == 404 && l.text == "":
	case a.status == 200 && got == l.text:
	case a.status == 200 && got == l.text+l.doubt:
		l.text = got
	default:
		return fmt.Errorf("%s is HTTP %d, %d bytes; %d were acknowledged and %d are in doubt", l.name, a.status, len(got), len(l.text), len(l.doubt))
	}
	l.doubt = ""
	return nil
}

// pageLoad writes pages, each range whole or not at all.
type pageLoad struct {
	name  string
	bytes []byte // nil until the blob is there
	doubt []byte
}

const crashPages = 256 << 10

func (l *pageLoad) step(ctx context.Context, c *crashClient, rnd *rand.Rand) error {
	if l.bytes == nil {
		a, err := c.blob(ctx, http.MethodPut, l.name, "", "", "x-ms-blob-type", "PageBlob", "x-ms-blob-content-length", fmt.Sprint(crashPages), "If-None-Match", "*")
		if err := acked(a, err, 201, 409); err != nil {
			return err
		}
		l.bytes = make([]byte, crashPages)
	}
	from := rnd.IntN(crashPages/512) * 512
	length := min(crashPages-from, (1+rnd.IntN(100))*512)
	body, write := bytes.Repeat([]byte{byte(1 + rnd.IntN(255))}, length), "update"
	if rnd.IntN(4) == 0 {
		body, write = nil, "clear"
	}
	l.doubt = bytes.Clone(l.bytes)
	clear(l.doubt[from:][:length])
	copy(l.doubt[from:], body)
	a, err := c.blob(ctx, http.MethodPut, l.name, "comp=page", string(body), "x-ms-page-write", write, "x-ms-range", fmt.Sprintf("bytes=%d-%d", from, from+length-1))
	if err = acked(a, err, 201); err == nil {
		l.bytes, l.doubt = l.doubt, nil
	}
	return err
}

func (l *pageLoad) verify(ctx context.Context, c *crashClient) error {
	if l.bytes == nil {
		return nil
	}
	a, err := c.blob(ctx, http.MethodGet, l.name, "", "")
	switch {
	case err != nil:
		return err
	case bytes.Equal(a.body, l.bytes):
	case l.doubt != nil && bytes.Equal(a.body, l.doubt):
		l.bytes = l.doubt
	default:
		return fmt.Errorf("%s is HTTP %d, %d bytes that nobody wrote", l.name, a.status, len(a.body))
	}
	l.doubt = nil
	return nil
}

// renameLoad moves a directory with a file from one name to another, and adds to
// the file.
type renameLoad struct {
	name string
	at   []int // where it may be; 0 is nowhere yet
	text string
	may  string // what may be added
}

func (l *renameLoad) dir(n int) string { return fmt.Sprintf("%s/%d", l.name, n) }

func (l *renameLoad) step(ctx context.Context, c *crashClient, _ *rand.Rand) error {
	if len(l.at) == 0 {
		a, err := c.dfs(ctx, http.MethodPut, l.dir(1)+"/file", "resource=file", "")
		if err := acked(a, err, 201); err != nil {
			return err
		}
		l.at = []int{1}
	}
	from := l.at[0]
	line := fmt.Sprintf("at %d\n", from)
	l.may = line
	a, err := c.dfs(ctx, http.MethodPatch, l.dir(from)+"/file", fmt.Sprintf("action=append&position=%d&flush=true", len(l.text)), line)
	if err := acked(a, err, 202); err != nil {
		return err
	}
	l.text, l.may = l.text+line, ""
	l.at = []int{from, from + 1}
	a, err = c.dfs(ctx, http.MethodPut, l.dir(from+1), "", "", "x-ms-rename-source", "/box/"+l.dir(from)+"?"+c.tree)
	if err = acked(a, err, 201); err == nil {
		l.at = []int{from + 1}
	}
	return err
}

func (l *renameLoad) verify(ctx context.Context, c *crashClient) error {
	if len(l.at) == 0 {
		return nil
	}
	found := 0
	for _, n := range l.at {
		a, err := c.dfs(ctx, http.MethodGet, l.dir(n)+"/file", "", "")
		if err != nil {
			return err
		}
		switch got := string(a.body); {
		case a.status == 404:
			continue
		case a.status == 200 && got == l.text:
		case a.status == 200 && got == l.text+l.may:
			l.text = got
		default:
			return fmt.Errorf("%s/file is HTTP %d %q, want %q", l.dir(n), a.status, got, l.text)
		}
		if found != 0 {
			return fmt.Errorf("%s is at %d and at %d", l.name, found, n)
		}
		found = n
	}
	if found == 0 {
		return fmt.Errorf("%s is at none of %v", l.name, l.at)
	}
	l.at, l.may = []int{found}, ""
	return nil
}

// tagLoad sets tags and metadata of a blob.
type tagLoad struct {
	name string
	made bool
	n    int
	may  []string
}

func (l *tagLoad) step(ctx context.Context, c *crashClient, _ *rand.Rand) error {
	if !l.made {
		a, err := c.blob(ctx, http.MethodPut, l.name, "", "x", "x-ms-blob-type", "BlockBlob", "x-ms-tags", "n=0")
		if err := acked(a, err, 201); err != nil {
			return err
		}
		l.made, l.may = true, []string{"0"}
	}
	l.n++
	v := fmt.Sprint(l.n)
	l.may = append(l.may, v)
	a, err := c.blob(ctx, http.MethodPut, l.name, "comp=tags", "<Tags><TagSet><Tag><Key>n</Key><Value>"+v+"</Value></Tag></TagSet></Tags>")
	if err = acked(a, err, 204); err == nil {
		l.may = []string{v}
	}
	return err
}

func (l *tagLoad) verify(ctx context.Context, c *crashClient) error {
	if !l.made {
		return nil
	}
	a, err := c.blob(ctx, http.MethodGet, l.name, "comp=tags", "")
	if err := acked(a, err, 200); err != nil {
		return err
	}
	var doc struct {
		Value string `xml:"TagSet>Tag>Value"`
	}
	if err := xml.Unmarshal(bytes.TrimPrefix(a.body, []byte("\ufeff")), &doc); err != nil || !slices.Contains(l.may, doc.Value) {
		return fmt.Errorf("%s has the tag %q, may have %v (%v)", l.name, doc.Value, l.may, err)
	}
	l.may = []string{doc.Value}
	// The index says the same.
	a, err = c.storage(ctx, http.MethodGet, strings.TrimSuffix(crashFlat, "/"), "restype=container&comp=blobs&where="+url.QueryEscape(`n='`+doc.Value+`'`), c.flat, "", nil)
	if err := acked(a, err, 200); err != nil {
		return err
	}
	if !bytes.Contains(a.body, []byte("<Name>"+l.name+"</Name>")) {
		return fmt.Errorf("%s is not found by its tag %s: %s", l.name, doc.Value, a.body)
	}
	return nil
}

// leaseLoad takes and gives up a lease for ever.
type leaseLoad struct {
	name string
	made bool
	may  []string // states
}

const crashLease = "11111111-2222-3333-4444-555555555555"

func (l *leaseLoad) step(ctx context.Context, c *crashClient, _ *rand.Rand) error {
	if !l.made {
		a, err := c.blob(ctx, http.MethodPut, l.name, "", "x", "x-ms-blob-type", "BlockBlob", "If-None-Match", "*")
		if err := acked(a, err, 201, 409); err != nil {
			return err
		}
		l.made, l.may = true, []string{"available"}
	}
	action, status, state := "acquire", 201, "leased"
	header := []string{"x-ms-lease-duration", "-1", "x-ms-proposed-lease-id", crashLease}
	if l.may[0] == "leased" {
		action, status, state = "release", 200, "available"
		header = []string{"x-ms-lease-id", crashLease}
	}
	l.may = append(l.may, state)
	a, err := c.blob(ctx, http.MethodPut, l.name, "comp=lease", "", append(header, "x-ms-lease-action", action)...)
	if err = acked(a, err, status); err == nil {
		l.may = []string{state}
	}
	return err
}

func (l *leaseLoad) verify(ctx context.Context, c *crashClient) error {
	if !l.made {
		return nil
	}
	a, err := c.blob(ctx, http.MethodHead, l.name, "", "")
	if err := acked(a, err, 200); err != nil {
		return err
	}
	state := a.header.Get("x-ms-lease-state")
	if !slices.Contains(l.may, state) {
		return fmt.Errorf("the lease of %s is %s, may be %v", l.name, state, l.may)
	}
	l.may = []string{state}
	return nil
}

// secretLoad sets versions of a secret of a key vault.
type secretLoad struct {
	name string
	n    int
	may  []string
}

func (l *secretLoad) step(ctx context.Context, c *crashClient, _ *rand.Rand) error {
	l.n++
	v := fmt.Sprint("value ", l.n)
	l.may = append(l.may, v)
	a, err := c.do(ctx, c.tokens[forVault], http.MethodPut, crashVault+l.name+"?api-version=7.4", map[string]string{"Content-Type": "application/json"}, `{"value":"`+v+`"}`)
	if err = acked(a, err, 200); err == nil {
		l.may = []string{v}
	}
	return err
}

func (l *secretLoad) verify(ctx context.Context, c *crashClient) error {
	if len(l.may) == 0 {
		return nil
	}
	a, err := c.do(ctx, c.tokens[forVault], http.MethodGet, crashVault+l.name+"?api-version=7.4", nil, "")
	if err == nil && a.status == 404 && !strings.Contains(fmt.Sprint(l.may), "value 1 ") && l.n == len(l.may) {
		return nil // none was acknowledged yet
	}
	if err := acked(a, err, 200); err != nil {
		return err
	}
	var s struct{ Value string }
	if err := json.Unmarshal(a.body, &s); err != nil || !slices.Contains(l.may, s.Value) {
		return fmt.Errorf("%s is %q, may be %v (%v)", l.name, s.Value, l.may, err)
	}
	l.may = []string{s.Value}
	return nil
}

// TestDataCrashes kills the server at random moments under all loads at once: what
// was acknowledged is readable and whole, nothing half-written is to be seen, and
// doctor finds no damage. AZIMUTH_CRASH_ROUNDS sets how often.
func TestDataCrashes(t *testing.T) {
	rounds := crashRounds(t, 12)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	e := newEnv(t)
	s := e.serve()
	c := &crashClient{wire: e.wire()}
	c.flat = accountSAS(t, c.storageAccount(t, "stcrash001", ""))
	c.tree = accountSAS(t, c.storageAccount(t, "stcrash002", `"isHnsEnabled":true`))
	ctx := t.Context()
	for _, box := range []struct{ at, sas string }{{crashFlat, c.flat}, {strings.Replace(crashTree, ".dfs.", ".blob.", 1), c.tree}} {
		a, err := c.storage(ctx, http.MethodPut, strings.TrimSuffix(box.at, "/"), "restype=container", box.sas, "", nil)
		if err := acked(a, err, 201); err != nil {
			t.Fatal(err)
		}
	}
	c.crashVault(t)
	c.crashRegistry(t)
	loads := crashLoads()
	var done atomic.Int64
	for round := range rounds {
		if round > 0 {
			s = e.serve()
		}
		var wg sync.WaitGroup
		for i, l := range loads {
			own := rand.New(rand.NewPCG(rnd.Uint64(), uint64(i)))
			wg.Go(func() {
				for {
					err := l.step(ctx, c, own)
					if r, ok := err.(refused); ok {
						t.Errorf("round %d: %T: %v", round, l, r)
					}
					if err != nil {
						return
					}
					done.Add(1)
				}
			})
		}
		timer := time.AfterFunc(time.Duration(20+rnd.IntN(600))*time.Millisecond, func() { s.cmd.Process.Kill() })
		wg.Wait()
		timer.Stop()
		s.kill()
		c.http.CloseIdleConnections()
		s = e.serve()
		for _, l := range loads {
			if err := l.verify(ctx, c); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		if round%25 == 24 || round == rounds-1 {
			e.run("doctor")
		}
		if t.Failed() {
			t.Fatalf("seed %d, round %d; the server said:\n%s", seed, round, tail(s.kill(), 40))
		}
		s.kill()
		c.http.CloseIdleConnections()
	}
	t.Logf("%d rounds, %d acknowledged steps", rounds, done.Load())
}

// crashVault makes the vault of secretLoad.
func (c *crashClient) crashVault(t *testing.T) {
	t.Helper()
	id := subscription + "/resourceGroups/rg-bench/providers/Microsoft.KeyVault/vaults/kv-crash-001"
	body := fmt.Sprintf(`{"location":"westeurope","properties":{"tenantId":%q,"sku":{"family":"A","name":"standard"},"accessPolicies":[
		{"tenantId":%q,"objectId":%q,"permissions":{"secrets":["get","set","list"]}}]}}`, c.owner.TenantID, c.owner.TenantID, c.owner.ObjectID)
	if _, err := c.arm(t.Context(), http.MethodPut, id, "2023-07-01", body); err != nil {
		t.Fatal(err)
	}
}
