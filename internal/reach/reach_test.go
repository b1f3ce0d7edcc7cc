package reach_test

import (
	"encoding/json"
	"iter"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/reach"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// A scenario is a world and questions about it. Each question may change the world
// first, for itself alone.
type scenario struct {
	Resources []arm.Doc           `json:"resources"`
	Sources   map[string]source   `json:"sources"`
	Questions map[string]question `json:"questions"`
}

type source struct {
	Subnet, Workspace, Private, Public, Resource string
	PublicIP, Azure, Trusted                     bool
}

type question struct {
	From, To string
	Port     int
	// Set changes properties: "ID#path": value. Drop removes resources and all in
	// them. Add puts more.
	Set  map[string]any
	Drop []string
	Add  []arm.Doc

	Allowed bool
	Reason  reach.Reason
	Via     string // the last part of the ID
	Rule    string // part of it
	Change  string // part of it
	Client  string
}

// world is resources in memory.
type world map[string]*arm.Resource

const group = "/subscriptions/s/resourceGroups/rg/providers/"

func full(id string) string {
	if strings.HasPrefix(id, "/") || id == "" {
		return id
	}
	return group + id
}

func (w world) put(t *testing.T, doc arm.Doc) {
	t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	// resources name others by short IDs, too
	text = []byte(strings.ReplaceAll(string(text), `"~/`, `"`+group))
	var body arm.Doc
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatal(err)
	}
	id := full(body.String("id"))
	if _, err := arm.ParseID(id); err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	delete(body, "id")
	w[arm.Key(id)] = &arm.Resource{ID: id, Body: body}
}

func (w world) clone() world {
	out := world{}
	for k, r := range w {
		out[k] = &arm.Resource{ID: r.ID, Body: r.Body.Clone()}
	}
	return out
}

func (w world) Get(id string) (*arm.Resource, error) {
	if r := w[arm.Key(id)]; r != nil {
		return r, nil
	}
	return nil, store.ErrNotFound
}

func (w world) where(ok func(*arm.Resource) bool) iter.Seq2[*arm.Resource, error] {
	return func(yield func(*arm.Resource, error) bool) {
		var keys []string
		for k := range w {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			if ok(w[k]) && !yield(w[k], nil) {
				return
			}
		}
	}
}

func (w world) Children(parent arm.ID, typ string) iter.Seq2[*arm.Resource, error] {
	return w.where(func(r *arm.Resource) bool {
		id := r.ParsedID()
		return id.Parent().Key() == parent.Key() && strings.EqualFold(id.Type(), typ)
	})
}

func (w world) Named(typ, name string) (*arm.Resource, error) {
	for r := range w.where(func(r *arm.Resource) bool {
		return strings.EqualFold(r.ParsedID().Type(), typ) &&
			(strings.EqualFold(r.Name(), name) || strings.EqualFold(r.Body.String("properties.workspaceId"), name))
	}) {
		return r, nil
	}
	return nil, store.ErrNotFound
}

func (w world) ZoneLinks(networkID string) iter.Seq2[*arm.Resource, error] {
	return w.where(func(r *arm.Resource) bool {
		return strings.HasSuffix(r.ParsedID().Type(), "/virtualNetworkLinks") && arm.Key(r.Body.String("properties.virtualNetwork.id")) == arm.Key(networkID)
	})
}

func load(t testing.TB, file string) scenario {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s scenario
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return s
}

func (s source) source(t testing.TB, name string) reach.Source {
	out := reach.Source{Name: name, Subnet: full(s.Subnet), Workspace: full(s.Workspace), Resource: full(s.Resource), PublicIP: s.PublicIP, Azure: s.Azure, Trusted: s.Trusted}
	for text, to := range map[string]*netip.Addr{s.Private: &out.Private, s.Public: &out.Public} {
		if text == "" {
			continue
		}
		a, err := netip.ParseAddr(text)
		if err != nil {
			t.Fatal(err)
		}
		*to = a
	}
	return out
}

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		s := load(t, file)
		base := world{}
		for _, doc := range s.Resources {
			base.put(t, doc)
		}
		for name, q := range s.Questions {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".json")+"/"+name, func(t *testing.T) {
				w := base.clone()
				for at, v := range q.Set {
					id, path, _ := strings.Cut(at, "#")
					r := w[arm.Key(full(id))]
					if r == nil {
						t.Fatalf("nothing at %s", id)
					}
					if text, ok := v.(string); ok && strings.HasPrefix(text, "~/") {
						v = group + text[2:]
					}
					r.Body.Set(path, v)
				}
				for _, id := range q.Drop {
					n := len(w)
					for k := range w {
						if k == arm.Key(full(id)) || strings.HasPrefix(k, arm.Key(full(id))+"/") {
							delete(w, k)
						}
					}
					if len(w) == n {
						t.Fatalf("nothing at %s", id)
					}
				}
				for _, doc := range q.Add {
					w.put(t, doc)
				}
				from, ok := s.Sources[q.From]
				if !ok {
					t.Fatalf("no source %s", q.From)
				}
				v, err := reach.Decide(w, from.source(t, q.From), reach.Destination{Host: q.To, Port: q.Port})
				if err != nil {
					t.Fatal(err)
				}
				if v.Allowed != q.Allowed || v.Reason != q.Reason || !strings.HasSuffix(v.Via, q.Via) ||
					!strings.Contains(v.Rule, q.Rule) || !strings.Contains(v.Change, q.Change) || q.Client != "" && v.Client.String() != q.Client {
					t.Errorf("allowed %t, reason %q, via %s, client %s\nrule: %s\nchange: %s\nsteps: %s", v.Allowed, v.Reason, v.Via, v.Client, v.Rule, v.Change, strings.Join(v.Steps, "\n       "))
				}
				if v.Rule == "" || !v.Allowed && v.Change == "" {
					t.Errorf("it does not say why: %+v", v)
				}
			})
		}
	}
}

// FuzzDecide looks for hosts, prefixes and ranges that break a decision.
func FuzzDecide(f *testing.F) {
	f.Add("acct.blob.core.windows.net", "Internet", "443", "10.0.0.0/8")
	f.Add("x.workspace.eastus.api.azureml.ms", "10.1.0.4", "1-", "None")
	f.Add("..", "", "-", "::1/129")
	s := load(f, "testdata/hub-and-spoke.json")
	f.Fuzz(func(t *testing.T, host, prefix, ports, address string) {
		w := world{}
		for _, doc := range s.Resources {
			w.put(t, doc)
		}
		for _, r := range w {
			switch {
			case strings.HasSuffix(r.ParsedID().Type(), "/securityRules"):
				r.Body.Set("properties.destinationAddressPrefix", prefix)
				r.Body.Set("properties.destinationPortRange", ports)
			case strings.HasSuffix(r.ParsedID().Type(), "/routes"):
				r.Body.Set("properties.addressPrefix", address)
			case strings.HasSuffix(r.ParsedID().Type(), "/A"):
				r.Body.Set("properties.aRecords", []any{map[string]any{"ipv4Address": address}})
			}
		}
		for name, src := range s.Sources {
			if _, err := reach.Decide(w, src.source(t, name), reach.Destination{Host: host}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
