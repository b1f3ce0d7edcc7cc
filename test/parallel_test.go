package test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/store/sqlite"
)

const (
	parallelGroup = subscription + "/resourceGroups/rg-parallel"
	networkAPI    = "2023-11-01"
	sharedNetwork = parallelGroup + "/providers/Microsoft.Network/virtualNetworks/vnet-shared"
	sharedRules   = parallelGroup + "/providers/Microsoft.Network/networkSecurityGroups/nsg-shared"
	sharedAddress = parallelGroup + "/providers/Microsoft.Network/publicIPAddresses/pip-shared"
)

// armLoad is a client that creates, updates and deletes resources, of which it
// alone knows, in a group that all clients share. Each state of one is a number
// that the resource shows.
type armLoad struct {
	states
	api   string
	paths []string
	body  func(n int) string
	shown func(doc map[string]any) (int, bool)
	// dependent is what is made behind each resource and goes with it; may be nil.
	dependent func(ctx context.Context, c *crashClient, path string) error
}

func tagShown(doc map[string]any) (int, bool) {
	tags, _ := doc["tags"].(map[string]any)
	s, _ := tags["n"].(string)
	n, err := strconv.Atoi(s)
	return n, err == nil
}

func (l *armLoad) step(ctx context.Context, c *crashClient, rnd *rand.Rand) error {
	path := l.paths[rnd.IntN(len(l.paths))]
	if rnd.IntN(3) == 0 {
		return l.write(path, true, func(int) error {
			a, err := c.armed(ctx, http.MethodDelete, path, l.api, "")
			return acked(a, err, 200, 202, 204)
		})
	}
	return l.write(path, false, func(n int) error {
		a, err := c.armed(ctx, http.MethodPut, path, l.api, l.body(n))
		if err := acked(a, err, 200, 201, 202); err != nil || l.dependent == nil {
			return err
		}
		return l.dependent(ctx, c, path)
	})
}

func (l *armLoad) verify(ctx context.Context, c *crashClient) error {
	for path, may := range l.known {
		a, err := c.armed(ctx, http.MethodGet, path, l.api, "")
		if err := acked(a, err, 200, 404); err != nil {
			return err
		}
		found := 0
		if a.status == 200 {
			var doc map[string]any
			if err := json.Unmarshal(a.body, &doc); err != nil {
				return err
			}
			var ok bool
			if found, ok = l.shown(doc); !ok {
				return fmt.Errorf("%s shows no state: %s", path, a.body)
			}
		}
		if !slices.Contains(may, found) {
			return fmt.Errorf("%s is in state %d and may be in %v", path, found, may)
		}
		l.known[path] = []int{found}
	}
	return nil
}

// armed is a request to Azure Resource Manager whose answer, of any status, is
// returned. What is under way elsewhere is asked for again, as clients do.
func (c *crashClient) armed(ctx context.Context, method, path, version, body string, header ...string) (answer, error) {
	h := map[string]string{"Content-Type": "application/json"}
	for i := 0; i < len(header); i += 2 {
		h[header[i]] = header[i+1]
	}
	return c.do(ctx, c.tokens[forARM], method, armHost+path+"?api-version="+version, h, body)
}

// shareLoad writes its own tag of a resource that all write, by reading it and
// putting it back if it has not changed.
type shareLoad struct {
	states
	tag string
}

func (l *shareLoad) step(ctx context.Context, c *crashClient, _ *rand.Rand) error {
	return l.write(l.tag, false, func(n int) error {
		for {
			a, err := c.armed(ctx, http.MethodGet, sharedAddress, networkAPI, "")
			if err := acked(a, err, 200); err != nil {
				return err
			}
			var doc map[string]any
			if err := json.Unmarshal(a.body, &doc); err != nil {
				return err
			}
			tags, _ := doc["tags"].(map[string]any)
			if tags == nil {
				tags = map[string]any{}
			}
			tags[l.tag] = fmt.Sprint(n)
			doc["tags"] = tags
			b, err := json.Marshal(doc)
			if err != nil {
				return err
			}
			a, err = c.armed(ctx, http.MethodPut, sharedAddress, networkAPI, string(b), "If-Match", fmt.Sprint(doc["etag"]))
			if err == nil && a.status == http.StatusPreconditionFailed {
				continue // another client was first
			}
			return acked(a, err, 200)
		}
	})
}

func (l *shareLoad) verify(ctx context.Context, c *crashClient) error {
	a, err := c.armed(ctx, http.MethodGet, sharedAddress, networkAPI, "")
	if err := acked(a, err, 200); err != nil {
		return err
	}
	var doc struct{ Tags map[string]string }
	if err := json.Unmarshal(a.body, &doc); err != nil {
		return err
	}
	found, _ := strconv.Atoi(doc.Tags[l.tag])
	may := l.known[l.tag]
	if may == nil {
		may = []int{0}
	}
	if !slices.Contains(may, found) {
		return fmt.Errorf("tag %s is %d and may be %v", l.tag, found, may)
	}
	l.known = map[string][]int{l.tag: {found}}
	return nil
}

// armLoads are so many clients, of all kinds in turn.
func armLoads(clients int) (all []crashLoad) {
	const location = `"location":"westeurope","tags":{"n":"%d"}`
	tagged := func(more string) func(int) string {
		return func(n int) string { return fmt.Sprintf(`{`+location+more+`}`, n) }
	}
	for i := range clients {
		named := func(typ, name string) (out []string) {
			for k := range 2 {
				out = append(out, fmt.Sprintf("%s/providers/%s/"+name, parallelGroup, typ, i, k))
			}
			return out
		}
		switch i % 8 {
		case 0: // identities with a role, which goes with them
			all = append(all, &armLoad{
				api: identityAPI, paths: named("Microsoft.ManagedIdentity/userAssignedIdentities", "id-%d-%d"), body: tagged(""), shown: tagShown,
				dependent: func(ctx context.Context, c *crashClient, path string) error { return c.assignTo(ctx, path) },
			})
		case 1: // zones with records
			all = append(all, &armLoad{
				api: "2020-06-01", paths: named("Microsoft.Network/privateDnsZones", "z%d-%d.example.com"),
				body: func(n int) string { return fmt.Sprintf(`{"location":"global","tags":{"n":"%d"}}`, n) }, shown: tagShown,
				dependent: func(ctx context.Context, c *crashClient, path string) error {
					a, err := c.armed(ctx, http.MethodPut, path+"/A/www", "2020-06-01", `{"properties":{"ttl":300,"aRecords":[{"ipv4Address":"10.0.0.4"}]}}`)
					return acked(a, err, 200, 201)
				},
			})
		case 2: // accounts with containers
			all = append(all, &armLoad{
				api: "2023-01-01", paths: named("Microsoft.Storage/storageAccounts", "stpar%03d%d"),
				body: tagged(`,"sku":{"name":"Standard_LRS"},"kind":"StorageV2"`), shown: tagShown,
				dependent: func(ctx context.Context, c *crashClient, path string) error {
					a, err := c.armed(ctx, http.MethodPut, path+"/blobServices/default/containers/box", "2023-01-01", `{}`)
					return acked(a, err, 200, 201)
				},
			})
		case 3: // registries
			all = append(all, &armLoad{
				api: "2023-07-01", paths: named("Microsoft.ContainerRegistry/registries", "crpar%d%d"),
				body: tagged(`,"sku":{"name":"Premium"}`), shown: tagShown,
			})
		case 4: // subnets of the network that all share
			prefix := func(n int) string { return fmt.Sprintf("10.%d.%d.0/24", 1+i%250, n%250) }
			all = append(all, &armLoad{
				states: states{next: i}, api: networkAPI, paths: []string{fmt.Sprintf("%s/subnets/snet-%d", sharedNetwork, i)},
				body: func(n int) string {
					return fmt.Sprintf(`{"properties":{"addressPrefix":%q,"description":"%d"}}`, prefix(n), n)
				},
				shown: func(doc map[string]any) (int, bool) {
					p, _ := doc["properties"].(map[string]any)
					s, _ := p["description"].(string)
					n, err := strconv.Atoi(s)
					return n, err == nil && p["addressPrefix"] == prefix(n)
				},
			})
		case 5: // rules of the group that all share
			all = append(all, &armLoad{
				api: networkAPI, paths: []string{fmt.Sprintf("%s/securityRules/rule-%d", sharedRules, i)},
				body: func(n int) string {
					return fmt.Sprintf(`{"properties":{"priority":%d,"description":"%d","direction":"Inbound","access":"Allow","protocol":"Tcp",
						"sourceAddressPrefix":"*","sourcePortRange":"*","destinationAddressPrefix":"*","destinationPortRange":"443"}}`, 100+i, n)
				},
				shown: func(doc map[string]any) (int, bool) {
					p, _ := doc["properties"].(map[string]any)
					s, _ := p["description"].(string)
					n, err := strconv.Atoi(s)
					return n, err == nil
				},
			})
		case 6:
			all = append(all, &shareLoad{tag: fmt.Sprint("c", i)})
		case 7: // networks with a subnet of their own
			all = append(all, &armLoad{
				api: networkAPI, paths: named("Microsoft.Network/virtualNetworks", "vnet-%d-%d"), shown: tagShown,
				body: tagged(`,"properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/16"]},"subnets":[{"name":"one","properties":{"addressPrefix":"10.0.1.0/24"}}]}`),
			})
		}
	}
	return all
}

// assignTo gives an identity the role Reader on the group.
func (c *crashClient) assignTo(ctx context.Context, identity string) error {
	a, err := c.armed(ctx, http.MethodGet, identity, identityAPI, "")
	if err := acked(a, err, 200); err != nil {
		return err
	}
	var doc struct{ Properties struct{ PrincipalID string } }
	if err := json.Unmarshal(a.body, &doc); err != nil {
		return err
	}
	const reader = subscription + "/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7"
	name := uuid.NewSHA1(uuid.NameSpaceURL, []byte(doc.Properties.PrincipalID))
	a, err = c.armed(ctx, http.MethodPut, parallelGroup+"/providers/Microsoft.Authorization/roleAssignments/"+name.String(), "2022-04-01",
		fmt.Sprintf(`{"properties":{"roleDefinitionId":%q,"principalId":%q,"principalType":"ServicePrincipal"}}`, reader, doc.Properties.PrincipalID))
	return acked(a, err, 200, 201, 409) // it may have the role already
}

// shared makes what the clients share.
func (c *crashClient) shared(t *testing.T) {
	t.Helper()
	for _, r := range [][3]string{
		{parallelGroup, groupAPI, `{"location":"westeurope"}`},
		{sharedNetwork, networkAPI, `{"location":"westeurope","properties":{"addressSpace":{"addressPrefixes":["10.0.0.0/8"]}}}`},
		{sharedRules, networkAPI, `{"location":"westeurope"}`},
		{sharedAddress, networkAPI, `{"location":"westeurope","sku":{"name":"Standard"},"properties":{"publicIPAllocationMethod":"Static"}}`},
	} {
		a, err := c.armed(t.Context(), http.MethodPut, r[0], r[1], r[2])
		if err := acked(a, err, 200, 201); err != nil {
			t.Fatalf("%s: %v", r[0], err)
		}
	}
}

// emptied deletes the group and says what is left of all that was in it, by
// bucket of the store. It ends the server.
func (c *crashClient) emptied(t *testing.T, e *env, s *serving, before map[string]int) {
	t.Helper()
	a, err := c.armed(t.Context(), http.MethodDelete, parallelGroup, groupAPI, "")
	if err := acked(a, err, 200, 202); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/resources", "/resourceGroups"} {
		a, err := c.armed(t.Context(), http.MethodGet, subscription+path, groupAPI, "")
		if err := acked(a, err, 200); err != nil || !strings.Contains(string(a.body), `"value":[]`) {
			t.Errorf("%s at the end: %s (%v)", path, a.body, err)
		}
	}
	e.run("doctor")
	s.kill()
	// the deletion itself is remembered for a while, and which address is next
	may := map[string]int{"operation": 1, "operation/end": 1, "network.publicAddress": 1}
	after := stored(t, e)
	// containers are swept after the answer, in the background
	may["blob.garbage"], may["blob.container"] = after["blob.garbage"], after["blob.garbage"]
	for bucket, n := range after {
		if left := n - before[bucket]; left > may[bucket] && !strings.HasPrefix(bucket, "memory/") {
			t.Errorf("%d rows are left in %s", left, bucket)
		}
	}
}

// stored counts what the store of a home without a server holds, by bucket.
func stored(t *testing.T, e *env) map[string]int {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(e.home, "azimuth.db")) // what a crash left is taken in
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(e.home, "azimuth.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "SELECT bucket, count(*) FROM entry GROUP BY bucket")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]int{}
	for rows.Next() {
		var bucket string
		var n int
		if err := rows.Scan(&bucket, &n); err != nil {
			t.Fatal(err)
		}
		out[bucket] = n
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// settledHome is a home that has been used, whose server does not run, with what
// its store holds.
func settledHome(t *testing.T) (*env, map[string]int) {
	e := newEnv(t)
	e.serve().kill()
	return e, stored(t, e)
}

// TestParallelClients has 200 clients at once create, update and delete in one
// resource group. None loses an update to another, and nothing is left at the end.
func TestParallelClients(t *testing.T) {
	e, before := settledHome(t)
	s := e.serve()
	c := &crashClient{wire: e.wire()}
	c.shared(t)
	loads := armLoads(200)
	const steps = 12
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for i, l := range loads {
		wg.Go(func() {
			own := rand.New(rand.NewPCG(seed, uint64(i)))
			for range steps {
				if err := l.step(t.Context(), c, own); err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, l := range loads {
		if err := l.verify(t.Context(), c); err != nil {
			t.Error(err)
		}
	}
	c.emptied(t, e, s, before)
}

// TestControlPlaneCrashes kills the server again and again under clients that
// create, update and delete: what was acknowledged is as it was said to be, and
// nothing is left at the end. AZIMUTH_CRASH_ROUNDS sets how often.
func TestControlPlaneCrashes(t *testing.T) {
	rounds := crashRounds(t, 6)
	e, before := settledHome(t)
	s := e.serve()
	c := &crashClient{wire: e.wire()}
	c.shared(t)
	loads := armLoads(48)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var done atomic.Int64
	for round := range rounds {
		var wg sync.WaitGroup
		for i, l := range loads {
			own := rand.New(rand.NewPCG(rnd.Uint64(), uint64(i)))
			wg.Go(func() {
				for {
					err := l.step(t.Context(), c, own)
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
		timer := time.AfterFunc(time.Duration(20+rnd.IntN(500))*time.Millisecond, func() { s.cmd.Process.Kill() })
		wg.Wait()
		timer.Stop()
		s.kill()
		c.http.CloseIdleConnections()
		s = e.serve()
		for _, l := range loads {
			if err := l.verify(t.Context(), c); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d, round %d; the server said:\n%s", seed, round, tail(s.kill(), 40))
		}
	}
	t.Logf("%d rounds, %d acknowledged steps", rounds, done.Load())
	c.emptied(t, e, s, before)
}
