package server

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/entra"
)

// sample is a resource of testdata/types.json: each type has one at least, and
// what a sample needs stands before it. RG/ and SUB in a body stand for the
// resource group's providers and the subscription.
type sample struct {
	Type, Path, API string
	// Scope is "subscription" for what stands there and in no resource group.
	Scope string
	Body  json.RawMessage
	// BadName is what the type refuses as a name; "" where any goes.
	BadName *string
	// Computed types make their documents themselves: what they do not know of a
	// request is not kept.
	Computed bool
	// Versions makes each PUT a new version, and Runs a process: two are not alike.
	Versions, Runs bool
	// MakesParent is of what Azure makes the parent for.
	MakesParent bool
	// DeleteQuery is what a DELETE must say.
	DeleteQuery string
}

const typesGroup = "/subscriptions/" + entra.DefaultSubscriptionID + "/resourceGroups/rg-types"

// id is the sample's ID, in a resource group of that name.
func (s *sample) id(group string) string {
	sub, rest, _ := strings.Cut(typesGroup, "/resourceGroups/rg-types")
	switch {
	case strings.HasPrefix(s.Path, "/"):
		return sub + rest + s.Path
	case s.Scope == "subscription":
		return sub + "/providers/" + s.Path
	}
	return sub + "/resourceGroups/" + group + "/providers/" + s.Path
}

// named is the sample's ID with another name of its own, and renamed with another
// name of what it stands in.
func (s *sample) named(name string) string {
	id := s.id("rg-types")
	return id[:strings.LastIndexByte(id, '/')+1] + name
}

func (s *sample) renamed(parent string) string {
	segs := strings.Split(s.id("rg-types"), "/")
	segs[len(segs)-3] = parent
	return strings.Join(segs, "/")
}

func (s *sample) child() bool { return strings.Count(s.Type, "/") > 1 }

type typesEnv struct {
	s     *Server
	token string
}

func (e *typesEnv) do(t *testing.T, method, path, query, body string) (int, arm.Doc) {
	t.Helper()
	r := httptest.NewRequest(method, "https://"+arm.Host+path+"?"+query, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+e.token)
	w := httptest.NewRecorder()
	e.s.kernel.ServeHTTP(w, r)
	var doc arm.Doc
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, w.Body)
		}
	}
	return w.Code, doc
}

// refused asks for what must be refused with a code of the envelope.
func (e *typesEnv) refused(t *testing.T, method, path, query, body string, status int, codes ...string) {
	t.Helper()
	got, doc := e.do(t, method, path, query, body)
	code := doc.String("error.code")
	if got != status || len(codes) > 0 && !slices.Contains(codes, code) || code == "" || doc.String("error.message") == "" {
		t.Errorf("%s %s: %d %v; want %d %v", method, path, got, doc, status, codes)
	}
}

// TestEveryType does with a resource of each type what clients do with all, and
// what they get wrong.
func TestEveryType(t *testing.T) {
	s := open(t)
	e := &typesEnv{s: s, token: s.token(t, s.owner.ObjectID, audienceManagement)}
	samples := readSamples(t, e)
	seen := map[string]bool{}
	for _, smp := range samples {
		seen[strings.ToLower(smp.Type)] = true
	}
	types := map[string]*arm.ResourceType{}
	for _, typ := range s.kernel.Types() {
		types[typ.Type] = typ
		switch {
		case seen[strings.ToLower(typ.Type)], !takes(typ, http.MethodPut):
		case strings.HasSuffix(typ.Type, "/privateEndpointConnections"): // a private endpoint makes them
		case typ.Type == "Microsoft.Network/privateDnsZones/SOA": // a zone has one
		case typ.Type == "Microsoft.Resources/tags": // everything has them
		default:
			t.Errorf("%s: testdata/types.json has no resource of this type", typ.Type)
		}
	}
	for _, smp := range samples {
		typ := types[smp.Type]
		if typ == nil {
			t.Fatalf("there is no type %s", smp.Type)
		}
		t.Run("create "+smp.Type, func(t *testing.T) {
			e.create(t, smp)
			e.use(t, smp, typ)
		})
	}
	for _, smp := range samples { // now with all that is in it
		t.Run("read and write "+smp.Type, func(t *testing.T) { e.writeBack(t, smp) })
	}
	for _, smp := range slices.Backward(samples) {
		t.Run("delete "+smp.Type, func(t *testing.T) { e.remove(t, smp, types[smp.Type]) })
	}
	if _, doc := e.do(t, http.MethodGet, strings.TrimSuffix(typesGroup, "/resourceGroups/rg-types")+"/resources", "api-version=2021-04-01", ""); len(doc.List("value")) != 0 {
		t.Errorf("left at the end: %v", doc)
	}
}

func readSamples(t *testing.T, e *typesEnv) []*sample {
	t.Helper()
	b, err := os.ReadFile("testdata/types.json")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("RG/", typesGroup+"/providers/", "SUB", strings.TrimSuffix(typesGroup, "/resourceGroups/rg-types"),
		"PRINCIPAL", e.s.stranger(t)).Replace(string(b))
	var out []*sample
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// takes reports whether clients may use a method on the type.
func takes(typ *arm.ResourceType, method string) bool {
	return len(typ.Methods) == 0 || slices.Contains(typ.Methods, method)
}

func (smp *sample) version() string { return "api-version=" + smp.API }

func (e *typesEnv) create(t *testing.T, smp *sample) {
	id := smp.id("rg-types")
	group := smp.Type == arm.TypeResourceGroup
	if !group && smp.Scope == "" {
		e.refused(t, http.MethodPut, smp.id("rg-nowhere"), smp.version(), string(smp.Body), 404, "ResourceGroupNotFound", "ParentResourceNotFound")
	}
	if smp.child() && smp.Scope == "" && !smp.MakesParent {
		e.refused(t, http.MethodPut, smp.renamed("nowhere1"), smp.version(), string(smp.Body), 404, "ParentResourceNotFound", "ResourceNotFound")
	}
	bad := "b@d!name%25"
	if smp.BadName != nil {
		bad = *smp.BadName
	}
	if bad != "" {
		e.refused(t, http.MethodPut, smp.named(bad), smp.version(), string(smp.Body), 400)
	}
	for _, body := range []string{"", "null", "[]", `"text"`, "{", `{"properties":[]}`} {
		e.refused(t, http.MethodPut, id, smp.version(), body, 400)
	}
	e.refused(t, http.MethodPut, id, "", string(smp.Body), 400, "MissingApiVersionParameter")
	e.refused(t, http.MethodPut, id, "api-version=yesterday", string(smp.Body), 400, "InvalidApiVersionParameter")
	status, doc := e.do(t, http.MethodPut, id, smp.version(), string(smp.Body))
	if status >= 300 {
		t.Fatalf("PUT %s: %d %v", id, status, doc)
	}
}

// stable is a document without what two answers may differ in.
func stable(doc arm.Doc) arm.Doc {
	doc = doc.Clone()
	for _, path := range []string{"systemData", "properties.lastModifiedTime", "properties.modifiedDate", "properties.updatedOn", "properties.lastModifiedTimeUtc", "properties.modifiedOn"} {
		doc.Delete(path)
	}
	without(map[string]any(doc), "etag")
	return doc
}

// without takes a field out of a document and of all in it.
func without(v any, field string) {
	switch v := v.(type) {
	case map[string]any:
		delete(v, field)
		for _, inner := range v {
			without(inner, field)
		}
	case []any:
		for _, inner := range v {
			without(inner, field)
		}
	}
}

func (e *typesEnv) use(t *testing.T, smp *sample, typ *arm.ResourceType) {
	id := smp.id("rg-types")
	status, first := e.do(t, http.MethodGet, id, smp.version(), "")
	if status != 200 {
		t.Fatalf("GET %s: %d %v", id, status, first)
	}
	name := id[strings.LastIndexByte(id, '/')+1:]
	if first.String("id") != id || first.String("name") != name || !strings.EqualFold(first.String("type"), smp.Type) {
		t.Errorf("GET %s is %q, named %q, of type %q", id, first.String("id"), first.String("name"), first.String("type"))
	}
	if status, doc := e.do(t, http.MethodGet, strings.ToUpper(id), smp.version(), ""); status != 200 || doc.String("id") != id {
		t.Errorf("in capitals: %d %q", status, doc.String("id"))
	}
	if status, _ := e.do(t, http.MethodHead, id, smp.version(), ""); status != 204 && status != 200 {
		t.Errorf("HEAD: %d", status)
	}
	e.refused(t, http.MethodGet, smp.named("nowhere1"), smp.version(), "", 404)
	if smp.Type != arm.TypeResourceGroup && takes(typ, "LIST") {
		e.listed(t, smp, id)
	}
	if !smp.Runs && !smp.Versions {
		if status, doc := e.do(t, http.MethodPut, id, smp.version(), string(smp.Body)); status >= 300 {
			t.Errorf("PUT again: %d %v", status, doc)
		}
		if _, second := e.do(t, http.MethodGet, id, smp.version(), ""); !reflect.DeepEqual(stable(first), stable(second)) {
			t.Errorf("after the same PUT:\n%v\nbefore:\n%v", second, first)
		}
		e.writeBack(t, smp)
	}
	if !smp.Computed && !smp.Runs {
		var body arm.Doc
		if err := json.Unmarshal(smp.Body, &body); err != nil {
			t.Fatal(err)
		}
		body.Set("properties.inventedByATest", map[string]any{"kept": "as it is"})
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		if status, doc := e.do(t, http.MethodPut, id, smp.version(), string(b)); status >= 300 {
			t.Errorf("PUT with a property that nobody knows: %d %v", status, doc)
		}
		if _, doc := e.do(t, http.MethodGet, id, smp.version(), ""); doc.String("properties.inventedByATest.kept") != "as it is" {
			t.Errorf("a property that nobody knows is lost: %v", doc)
		}
		if status, doc := e.do(t, http.MethodPut, id, smp.version(), string(smp.Body)); status >= 300 {
			t.Errorf("PUT without it: %d %v", status, doc)
		}
	}
	if typ.Tracked {
		e.tracked(t, smp, typ, id)
	}
}

// writeBack puts what it reads, as many clients do, which changes nothing.
func (e *typesEnv) writeBack(t *testing.T, smp *sample) {
	t.Helper()
	if smp.Runs || smp.Versions {
		return
	}
	id := smp.id("rg-types")
	_, first := e.do(t, http.MethodGet, id, smp.version(), "")
	b, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	if status, doc := e.do(t, http.MethodPut, id, smp.version(), string(b)); status >= 300 {
		t.Errorf("PUT of what GET said: %d %v", status, doc)
	}
	if _, second := e.do(t, http.MethodGet, id, smp.version(), ""); !reflect.DeepEqual(stable(first), stable(second)) {
		t.Errorf("after a PUT of what GET said:\n%v\nbefore:\n%v", second, first)
	}
}

// listed looks for the sample in the lists that it should be in.
func (e *typesEnv) listed(t *testing.T, smp *sample, id string) {
	t.Helper()
	collection := id[:strings.LastIndexByte(id, '/')]
	in := []string{collection}
	if !smp.child() && smp.Scope == "" && strings.Count(smp.Path, "/providers/") == 0 && !strings.HasPrefix(smp.Type, "Microsoft.Authorization/") {
		in = append(in, strings.Replace(collection, "/resourceGroups/rg-types", "", 1))
	}
	for _, path := range in {
		status, doc := e.do(t, http.MethodGet, path, smp.version(), "")
		found := slices.ContainsFunc(doc.List("value"), func(v any) bool {
			m, _ := v.(map[string]any)
			return m["id"] == id
		})
		if status != 200 || !found {
			t.Errorf("GET %s: %d, without %s: %v", path, status, id, doc)
		}
	}
}

// tracked is what holds of what has a location and tags.
func (e *typesEnv) tracked(t *testing.T, smp *sample, typ *arm.ResourceType, id string) {
	t.Helper()
	var body arm.Doc
	if err := json.Unmarshal(smp.Body, &body); err != nil {
		t.Fatal(err)
	}
	with := func(location any) string {
		changed := maps.Clone(body)
		if changed["location"] = location; location == nil {
			delete(changed, "location")
		}
		b, err := json.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if !typ.Global {
		if !typ.LocationOptional {
			e.refused(t, http.MethodPut, smp.named(newName(smp)), smp.version(), with(nil), 400, "LocationRequired")
		}
		e.refused(t, http.MethodPut, smp.named(newName(smp)), smp.version(), with("middleearth"), 400, "LocationNotAvailableForResourceType")
		e.refused(t, http.MethodPut, id, smp.version(), with("northeurope"), 409, "InvalidResourceLocation")
	}
	if !takes(typ, http.MethodPatch) {
		return
	}
	_, before := e.do(t, http.MethodGet, id, smp.version(), "")
	for _, tags := range []string{`{"a":"1","b":"2"}`, `{"c":"3"}`} {
		if status, doc := e.do(t, http.MethodPatch, id, smp.version(), `{"tags":`+tags+`}`); status >= 300 {
			t.Errorf("PATCH of tags: %d %v", status, doc)
		}
	}
	_, after := e.do(t, http.MethodGet, id, smp.version(), "")
	if want := map[string]any{"c": "3"}; !reflect.DeepEqual(map[string]any(after.Object("tags")), want) {
		t.Errorf("tags %v, want %v", after.Object("tags"), want)
	}
	before.Delete("tags")
	after.Delete("tags")
	if !reflect.DeepEqual(stable(before), stable(after)) {
		t.Errorf("a PATCH of tags changed more:\n%v\nbefore:\n%v", after, before)
	}
	many := map[string]string{}
	for i := range 51 {
		many[fmt.Sprint("t", i)] = "x"
	}
	b, err := json.Marshal(map[string]any{"tags": many})
	if err != nil {
		t.Fatal(err)
	}
	e.refused(t, http.MethodPatch, id, smp.version(), string(b), 400)
}

// newName is a name that the type takes and nothing has.
func newName(smp *sample) string { return smp.Path[strings.LastIndexByte(smp.Path, '/')+1:] + "2" }

func (e *typesEnv) remove(t *testing.T, smp *sample, typ *arm.ResourceType) {
	id := smp.id("rg-types")
	if !takes(typ, http.MethodDelete) {
		return
	}
	if smp.Runs { // it goes with what it is in
		e.refused(t, http.MethodDelete, id, smp.version(), "", 409)
		return
	}
	query := smp.version()
	if smp.DeleteQuery != "" {
		query += "&" + smp.DeleteQuery
	}
	if status, doc := e.do(t, http.MethodDelete, id, query, ""); status != 200 && status != 202 && status != 204 {
		t.Fatalf("DELETE %s: %d %v", id, status, doc)
	}
	if typ.Default == nil || typ.Virtual {
		e.refused(t, http.MethodGet, id, smp.version(), "", 404)
	}
	if smp.Type != arm.TypeResourceGroup {
		if status, doc := e.do(t, http.MethodDelete, id, query, ""); status != 204 && status != 404 {
			t.Errorf("DELETE again: %d %v", status, doc)
		}
	}
}
