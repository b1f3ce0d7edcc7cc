package test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// crashRegistry makes the registry of imageLoad.
func (c *crashClient) crashRegistry(t *testing.T) {
	t.Helper()
	id := subscription + "/resourceGroups/rg-bench/providers/Microsoft.ContainerRegistry/registries/acrcrash001"
	if _, err := c.arm(t.Context(), http.MethodPut, id, "2023-07-01", `{"location":"westeurope","sku":{"name":"Premium"}}`); err != nil {
		t.Fatal(err)
	}
}

// imageLoad pushes images with layers of their own to a few tags of a repository, and
// deletes some.
type imageLoad struct {
	repo string
	next int
	may  map[string][]int // states by tag; 0 is that there is none
	half []string         // digests of what was never pushed to its end
}

func digestOf(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

func (l *imageLoad) layer(n int) string {
	return strings.Repeat(fmt.Sprintf("%s layer %d\n", l.repo, n), 1+n*n*37%9000)
}

func (l *imageLoad) manifest(n int) string {
	layer := l.layer(n)
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`,
		digestOf("{}"), digestOf(layer), len(layer))
}

func (l *imageLoad) do(ctx context.Context, c *crashClient, method, path, body string, header ...string) (answer, error) {
	h := map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(c.owner.ClientID+":"+c.owner.ClientSecret))}
	for i := 0; i < len(header); i += 2 {
		h[header[i]] = header[i+1]
	}
	if !strings.HasPrefix(path, "/") {
		path = "/v2/" + l.repo + "/" + path
	}
	return c.wire.do(ctx, "", method, "https://acrcrash001.azurecr.io"+path, h, body)
}

func (l *imageLoad) step(ctx context.Context, c *crashClient, rnd *rand.Rand) error {
	if l.may == nil {
		l.may = map[string][]int{}
	}
	tag := fmt.Sprint("t", rnd.IntN(5))
	if len(l.may[tag]) == 0 {
		l.may[tag] = []int{0}
	}
	if l.may[tag][0] != 0 && rnd.IntN(4) == 0 {
		l.may[tag] = append(l.may[tag], 0)
		a, err := l.do(ctx, c, http.MethodDelete, "manifests/"+digestOf(l.manifest(l.may[tag][0])), "")
		if err = acked(a, err, 202); err == nil {
			l.may[tag] = []int{0}
		}
		return err
	}
	l.next++
	n := l.next
	layer := l.layer(n)
	a, err := l.do(ctx, c, http.MethodPost, "blobs/uploads/", "")
	if err := acked(a, err, 202); err != nil {
		return err
	}
	at, cut := a.header.Get("Location"), rnd.IntN(len(layer))
	if a, err = l.do(ctx, c, http.MethodPatch, at, layer[:cut]); acked(a, err, 202) != nil {
		return acked(a, err, 202)
	}
	if rnd.IntN(5) == 0 {
		l.half = append(l.half, digestOf(layer))
		return nil
	}
	if a, err = l.do(ctx, c, http.MethodPut, at+"?digest="+digestOf(layer), layer[cut:]); acked(a, err, 201) != nil {
		return acked(a, err, 201)
	}
	if a, err = l.do(ctx, c, http.MethodPost, "blobs/uploads/?digest="+digestOf("{}"), "{}"); acked(a, err, 201) != nil {
		return acked(a, err, 201)
	}
	l.may[tag] = append(l.may[tag], n)
	a, err = l.do(ctx, c, http.MethodPut, "manifests/"+tag, l.manifest(n), "Content-Type", "application/vnd.oci.image.manifest.v1+json")
	if err = acked(a, err, 201); err == nil {
		l.may[tag] = []int{n}
	}
	return err
}

func (l *imageLoad) verify(ctx context.Context, c *crashClient) error {
	for tag, may := range l.may {
		a, err := l.do(ctx, c, http.MethodGet, "manifests/"+tag, "")
		if err != nil {
			return err
		}
		i := slices.IndexFunc(may, func(n int) bool {
			return n == 0 && a.status == 404 || n != 0 && a.status == 200 && string(a.body) == l.manifest(n)
		})
		if i < 0 {
			return fmt.Errorf("%s:%s is HTTP %d %s; it may be in states %v", l.repo, tag, a.status, a.body, may)
		}
		n := may[i]
		l.may[tag] = []int{n}
		if n == 0 {
			continue
		}
		if a, err = l.do(ctx, c, http.MethodGet, "blobs/"+digestOf(l.layer(n)), ""); err != nil || a.status != 200 || string(a.body) != l.layer(n) {
			return fmt.Errorf("the layer of %s:%s is HTTP %d with %d bytes, %v", l.repo, tag, a.status, len(a.body), err)
		}
	}
	for _, d := range l.half {
		if a, err := l.do(ctx, c, http.MethodHead, "blobs/"+d, ""); err != nil || a.status != 404 {
			return fmt.Errorf("half of %s is HTTP %d, %v", d, a.status, err)
		}
	}
	l.half = l.half[max(0, len(l.half)-20):]
	var tags struct{ Tags []string }
	a, err := l.do(ctx, c, http.MethodGet, "tags/list", "")
	if err != nil || a.status == 404 {
		return err // nothing was ever pushed
	}
	if err := json.Unmarshal(a.body, &tags); err != nil {
		return fmt.Errorf("tags of %s: %w in %s", l.repo, err, a.body)
	}
	for tag, may := range l.may {
		if slices.Contains(tags.Tags, tag) != (may[0] != 0) {
			return fmt.Errorf("tags of %s are %v, and %s is in state %d", l.repo, tags.Tags, tag, may[0])
		}
	}
	return nil
}
