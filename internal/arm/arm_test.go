package arm_test

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// toy is a provider with a type of every sort. It records what its Delete hooks
// saw.
type toy struct {
	kernel         *arm.Kernel
	deleted, after []string
	nailed         string // the name of a box that refuses to go
}

func (y *toy) onDelete(_ context.Context, d *arm.Delete) error {
	name := d.Resource.Name()
	if name == y.nailed {
		return arm.Errorf(http.StatusConflict, "BoxIsNailed", "The box is nailed to the floor.")
	}
	y.deleted = append(y.deleted, name)
	d.After(func() { y.after = append(y.after, name) })
	return nil
}

func putBox(_ context.Context, p *arm.Put) error {
	if err := p.Immutable("properties.size"); err != nil {
		return err
	}
	p.Force("properties.serial")
	p.Keep("properties.kept")
	p.Resource.Body.Default("properties.serial", p.Resource.UID)
	p.Resource.Private.Default("secret", "s3cret")
	return nil
}

// echo answers with what an action was called on.
func echo(_ context.Context, req *arm.Request) (*arm.Response, error) {
	return arm.OK(map[string]any{"on": req.ID.String(), "args": req.Args, "body": req.Body}), nil
}

func accepted(ctx context.Context, req *arm.Request) (resp *arm.Response, err error) {
	err = req.Kernel.Store().Update(ctx, func(tx store.Tx) error {
		resp, err = req.Kernel.Accepted(tx, req)
		return err
	})
	return resp, err
}

func (y *toy) provider() *arm.Provider {
	const ns = "Microsoft.Toy"
	return &arm.Provider{
		Namespace: ns,
		Types: []*arm.ResourceType{
			{
				Type: ns + "/boxes", Tracked: true, SystemData: true, ETag: true,
				Identity:      []string{"SystemAssigned", "UserAssigned"},
				Latency:       arm.Latency{Create: time.Minute, Update: time.Minute, Delete: time.Minute},
				Name:          arm.NameRule{Pattern: regexp.MustCompile(`^[A-Za-z0-9-]{1,20}$`), Text: "Up to 20 letters."},
				Unimplemented: map[string]string{"properties.motor": "moves the box", "properties.mode=Turbo": "moves it fast"},
				Index:         func(r *arm.Resource) []string { return []string{"colour|" + r.Body.String("properties.colour")} },
				Put:           putBox,
				Delete:        y.onDelete,
				Actions: []arm.Action{
					{Name: "open", Handle: echo},
					{Name: "look", Method: http.MethodGet, Permission: ns + "/boxes/look/action", Handle: echo},
					{Name: "lid/lift", Method: http.MethodPut, Permission: ns + "/boxes/lid/action", Handle: echo},
					{Name: "wait", Handle: accepted},
				},
			},
			{Type: ns + "/boxes/items", Delete: y.onDelete},
			{Type: ns + "/boxes/items/parts", Delete: y.onDelete, DeleteBody: true},
			{
				Type: ns + "/boxes/settings", Methods: []string{http.MethodGet, http.MethodPatch, http.MethodPut},
				Default: func(_ context.Context, _ store.Tx, id arm.ID) (*arm.Resource, error) {
					if id.Name() != "default" {
						return nil, nil
					}
					return &arm.Resource{ID: id.String(), Body: arm.Doc{"properties": map[string]any{"on": false, "level": 1}}, Private: arm.Doc{}}, nil
				},
			},
			{Type: ns + "/notes", Scope: arm.InSubscription, NoProvisioningState: true, PutStatus: [2]int{200, 200}},
			{Type: ns + "/marks", Scope: arm.OnAnything, Methods: []string{http.MethodGet, http.MethodPut}},
			{Type: ns + "/rooms", Tracked: true, LocationOptional: true},
		},
		Actions: []arm.Action{
			{Name: "locations/{}/things/{}", Method: http.MethodGet, Permission: ns + "/things/read", Handle: echo},
			{Name: "free", Handle: echo},
		},
		Bind: func(k *arm.Kernel) { y.kernel = k },
	}
}

// groups is resource groups, and identities a type that a box can be given.
func groups() *arm.Provider {
	return &arm.Provider{Namespace: "Microsoft.Resources", Types: []*arm.ResourceType{
		{Type: arm.TypeResourceGroup, DeleteStatus: http.StatusAccepted},
	}}
}

func identityTypes() *arm.Provider {
	return &arm.Provider{Namespace: "Microsoft.ManagedIdentity", Types: []*arm.ResourceType{{Type: "Microsoft.ManagedIdentity/userAssignedIdentities"}}}
}

func newEnv(t *testing.T, opt rptest.Options) (*rptest.Env, *toy) {
	y := &toy{}
	e := rptest.New(t, opt, groups(), identityTypes(), y.provider())
	if y.kernel != e.Kernel {
		t.Fatal("Bind did not get the kernel")
	}
	e.NewGroup()
	return e, y
}

const (
	toys = rptest.Group + "/providers/Microsoft.Toy/"
	box  = toys + "boxes/Box-1"
)

func TestRequests(t *testing.T) {
	e, _ := newEnv(t, rptest.Options{})
	big := `{"location":"eastus","x":"` + strings.Repeat("x", 4<<20) + `"}`
	for _, tc := range []struct {
		name, token, method, path, body string
		status                          int
		code, text                      string
	}{
		{"no token", "", "GET", box, "", 401, "AuthenticationFailed", "'Authorization' header is missing"},
		{"bad token", "bad", "GET", box, "", 401, "InvalidAuthenticationToken", ""},
		{"no right", rptest.Guest, "GET", box, "", 403, "AuthorizationFailed", "The client 'app-guest' with object id '" + rptest.ObjectID(rptest.Guest) + "' does not have authorization to perform action 'Microsoft.Toy/boxes/read' over scope '" + box + "'"},
		{"no right on the group", rptest.Guest, "PUT", rptest.Group, `{"location":"eastus"}`, 403, "AuthorizationFailed", "'Microsoft.Resources/subscriptions/resourceGroups/write'"},
		{"no right to act", rptest.Guest, "POST", box + "/open", "", 403, "AuthorizationFailed", "'Microsoft.Toy/boxes/open/action'"},
		{"empty version", rptest.Owner, "GET", box + "?api-version=", "", 400, "MissingApiVersionParameter", "api-version query parameter"},
		{"bad version", rptest.Owner, "GET", box + "?api-version=latest", "", 400, "InvalidApiVersionParameter", "latest"},
		{"preview version", rptest.Owner, "GET", rptest.Group + "?api-version=2020-01-01-preview", "", 200, "", ""},
		{"case of the parameter", rptest.Owner, "GET", rptest.Group + "?API-VERSION=2020-01-01&api-version=2020-01-01", "", 200, "", ""},
		{"other subscription", rptest.Owner, "GET", "/subscriptions/other/resourceGroups/x", "", 404, "SubscriptionNotFound", "'other'"},
		{"no resource", rptest.Owner, "GET", box, "", 404, "ResourceNotFound", "The Resource 'Microsoft.Toy/boxes/Box-1' under resource group 'rg-One' was not found."},
		{"no parent, as az writes it", rptest.Owner, "GET", "/" + strings.Replace(box, "/boxes", "//boxes", 1), "", 404, "ResourceNotFound", "'Microsoft.Toy/boxes/Box-1'"},
		{"no group", rptest.Owner, "GET", strings.Replace(box, "rg-One", "none", 1), "", 404, "ResourceGroupNotFound", "'none'"},
		{"no parent", rptest.Owner, "PUT", box + "/items/a", `{}`, 404, "ParentResourceNotFound", "Parent resource 'Box-1' not found"},
		{"action of nothing", rptest.Owner, "POST", box + "/open", "", 404, "ResourceNotFound", ""},
		{"unknown type", rptest.Owner, "GET", toys + "kites/k", "", 501, "NotImplementedByAzimuth", "GET of 'Microsoft.Toy/kites'"},
		{"unknown namespace", rptest.Owner, "PUT", rptest.Group + "/providers/Microsoft.Sql/servers/s", `{}`, 501, "NotImplementedByAzimuth", "PUT of 'Microsoft.Sql/servers'"},
		{"unknown action", rptest.Owner, "POST", box + "/burn", "", 501, "NotImplementedByAzimuth", "boxes/burn"},
		{"wrong method", rptest.Owner, "TRACE", box, "", 405, "UnsupportedHttpVerb", ""},
		{"left-out method", rptest.Owner, "DELETE", box + "/settings/default", "", 501, "NotImplementedByAzimuth", "DELETE"},
		{"wrong place", rptest.Owner, "PUT", rptest.Sub + "/providers/Microsoft.Toy/boxes/b", `{"location":"eastus"}`, 400, "InvalidResourceLocation", ""},
		{"bad path", rptest.Owner, "GET", "/nonsense/a/b", "", 404, "InvalidResourceId", ""},
		{"a tag's name", rptest.Owner, "PUT", rptest.Sub + "/tagNames/team", `{}`, 501, "NotImplementedByAzimuth", "PUT of 'Microsoft.Resources/tagNames'"},
		{"a deployment's operations", rptest.Owner, "GET", rptest.Group + "/deployments/d/operations", "", 501, "NotImplementedByAzimuth", "deployments"},
		{"a management group", rptest.Owner, "POST", "/providers/Microsoft.Management/managementGroups/m/providers/Microsoft.Toy/register", "", 501, "NotImplementedByAzimuth", "management group"},
		{"bad name", rptest.Owner, "PUT", toys + "boxes/bad_name", `{"location":"eastus"}`, 400, "InvalidResourceName", "Up to 20 letters."},
		{"no body", rptest.Owner, "PUT", box, "", 400, "InvalidRequestContent", "empty"},
		{"null body", rptest.Owner, "PUT", box, "null", 400, "InvalidRequestContent", "null"},
		{"broken body", rptest.Owner, "PUT", box, `{"location"`, 400, "InvalidRequestContent", "unexpected end"},
		{"body of another sort", rptest.Owner, "PUT", box, `[1]`, 400, "InvalidRequestContent", ""},
		{"properties of another sort", rptest.Owner, "PUT", box, `{"location":"eastus","properties":7}`, 400, "InvalidRequestContent", "not an object"},
		{"body too large", rptest.Owner, "PUT", box, big, 413, "RequestContentTooLarge", "4 MB"},
		{"no location", rptest.Owner, "PUT", box, `{}`, 400, "LocationRequired", ""},
		{"unknown location", rptest.Owner, "PUT", box, `{"location":"moon"}`, 400, "LocationNotAvailableForResourceType", "'moon' is not available for resource type 'Microsoft.Toy/boxes'"},
		{"unimplemented", rptest.Owner, "PUT", box, `{"location":"eastus","properties":{"motor":{"watts":1}}}`, 501, "NotImplementedByAzimuth", "properties.motor"},
		{"unimplemented value", rptest.Owner, "PUT", box, `{"location":"eastus","properties":{"mode":"turbo"}}`, 501, "NotImplementedByAzimuth", "moves it fast"},
		{"bad tags", rptest.Owner, "PUT", box, `{"location":"eastus","tags":{"a":1}}`, 400, "InvalidTagNameOrValue", "'a'"},
		{"tags of another sort", rptest.Owner, "PUT", box, `{"location":"eastus","tags":[]}`, 400, "InvalidRequestContent", "tags"},
		{"unknown identity kind", rptest.Owner, "PUT", box, `{"location":"eastus","identity":{"type":"Magic"}}`, 400, "InvalidIdentityType", "Magic"},
		{"unknown identity", rptest.Owner, "PUT", box, `{"location":"eastus","identity":{"type":"UserAssigned","userAssignedIdentities":{"` + rptest.Group + `/providers/Microsoft.ManagedIdentity/userAssignedIdentities/x":{}}}}`, 400, "FailedIdentityOperation", ""},
		{"identities left out", rptest.Owner, "PUT", box, `{"location":"eastus","identity":{"type":"UserAssigned"}}`, 400, "InvalidIdentity", ""},
		{"patch of nothing", rptest.Owner, "PATCH", box, `{}`, 404, "ResourceNotFound", ""},
		{"delete of nothing", rptest.Owner, "DELETE", box, "", 204, "", ""},
		{"delete in no group", rptest.Owner, "DELETE", strings.Replace(box, "rg-One", "none", 1), "", 404, "ResourceGroupNotFound", ""},
		{"bad page size", rptest.Owner, "GET", toys + "boxes?$top=-1", "", 400, "InvalidTopParameter", ""},
		{"bad page", rptest.Owner, "GET", toys + "boxes?$skiptoken=!", "", 400, "InvalidSkipToken", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var body any
			if tc.body != "" {
				body = tc.body
			}
			r := e.As(tc.token, tc.method, tc.path, body)
			if r.Status != tc.status || r.Code() != tc.code || !strings.Contains(r.Message(), tc.text) {
				t.Errorf("%s %s = %d %.400s, want %d %s %q", tc.method, tc.path, r.Status, r.Raw, tc.status, tc.code, tc.text)
			}
			if challenge := r.Header.Get("WWW-Authenticate"); (r.Status == 401) != strings.Contains(challenge, "authorization_uri=\"https://login.microsoftonline.com/"+rptest.Tenant) {
				t.Errorf("challenge %q with %d", challenge, r.Status)
			}
		})
	}
}

// TestEndpoints checks that the cloud's description is public, and one object
// or a list as each version has it.
func TestEndpoints(t *testing.T) {
	e, _ := newEnv(t, rptest.Options{})
	for version, first := range map[string]string{"2015-01-01": "{", "2018-01-01": "{", "2019-05-01": "[", "2020-06-01": "[", "2022-09-01": "{"} {
		r := e.As("", "GET", "/metadata/endpoints?api-version="+version, nil)
		if r.Status != 200 || !strings.HasPrefix(string(r.Raw), first) {
			t.Errorf("%s: %d %.80s, want %s", version, r.Status, r.Raw, first)
		}
	}
}

func TestMissingVersion(t *testing.T) {
	e, _ := newEnv(t, rptest.Options{})
	req, err := http.NewRequestWithContext(t.Context(), "GET", e.URL+rptest.Group, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+rptest.Owner)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("without api-version: %d", resp.StatusCode)
	}
}

func TestLifecycle(t *testing.T) {
	e, _ := newEnv(t, rptest.Options{})
	r := e.Want(http.StatusCreated, "PUT", box, `{"id":"/forged","name":"forged","location":"East US","tags":{"a":"1","b":"2"},"properties":{"size":"XL","kept":"k","unknown":{"deep":[1]},"provisioningState":"Failed"}}`)
	for field, want := range map[string]any{
		"id": box, "name": "Box-1", "type": "Microsoft.Toy/boxes", "location": "East US", "tags.b": "2",
		"properties.size": "XL", "properties.provisioningState": "Succeeded",
		"systemData.createdBy": "app-owner", "systemData.createdByType": "Application", "systemData.createdAt": "2026-06-01T12:00:00.0000000Z",
	} {
		if got := r.Body.Get(field); got != want {
			t.Errorf("%s = %v, want %v", field, got, want)
		}
	}
	if len(r.Body.List("properties.unknown.deep")) != 1 {
		t.Error("an unknown property did not round-trip")
	}
	if strings.Contains(r.Raw, "s3cret") {
		t.Error("an answer shows what is private")
	}
	serial, etag := r.Body.String("properties.serial"), r.Body.String("etag")

	e.Clock.Step(time.Hour)
	// PUT is an update that keeps what is computed, and PATCH merges
	lower := strings.ToLower(box)
	r = e.Want(http.StatusOK, "PUT", lower, `{"location":"eastus","properties":{"size":"xl"}}`)
	if r.Body.String("id") != box || r.Body.String("properties.serial") != serial || r.Body.String("properties.kept") != "k" ||
		r.Body.Has("properties.unknown") || r.Body.Has("tags") || r.Body.String("etag") == etag ||
		r.Body.String("systemData.createdAt") != "2026-06-01T12:00:00.0000000Z" || r.Body.String("systemData.lastModifiedAt") != "2026-06-01T13:00:00.0000000Z" {
		t.Errorf("update: %s", r.Raw)
	}
	e.Want(http.StatusOK, "PATCH", box, `{"tags":{"c":"3"},"properties":{"kept":null,"more":{"x":1}}}`)
	r = e.Want(http.StatusOK, "PATCH", box, `{"tags":{"d":"4"},"properties":{"MORE":{"y":2}}}`)
	if r.Body.Has("tags.c") || r.Body.String("tags.d") != "4" || r.Body.Int("properties.more.x", 0) != 1 || r.Body.Int("properties.more.y", 0) != 2 || r.Body.String("properties.size") != "xl" {
		t.Errorf("patch: %s", r.Raw)
	}
	e.Refused(http.StatusConflict, "PropertyChangeNotAllowed", "properties.size", "PATCH", box, `{"properties":{"size":"S"}}`)
	e.Refused(http.StatusConflict, "InvalidResourceLocation", "already exists in location 'East US'", "PUT", box, `{"location":"westus"}`)

	// reads: any casing, and a check that has no body
	if r := e.Want(http.StatusOK, "GET", strings.ToUpper(lower), nil); r.Body.String("id") != box {
		t.Errorf("GET in capitals: %s", r.Raw)
	}
	if r := e.Do(http.MethodHead, box, nil); r.Status != http.StatusNoContent {
		t.Errorf("HEAD = %d", r.Status)
	}
	if r := e.Do(http.MethodHead, box+"x", nil); r.Status != http.StatusNotFound {
		t.Errorf("HEAD of nothing = %d", r.Status)
	}
	e.Want(http.StatusOK, "DELETE", lower, nil)
	e.Want(http.StatusNoContent, "DELETE", box, nil)

	// a room takes the location of its group; a note has neither state nor group
	if r := e.Want(http.StatusCreated, "PUT", toys+"rooms/r", `{}`); r.Body.String("location") != "eastus" {
		t.Errorf("room: %s", r.Raw)
	}
	if r := e.Want(http.StatusOK, "PUT", rptest.Sub+"/providers/Microsoft.Toy/notes/n", `{"properties":{"a":1}}`); r.Body.Has("properties.provisioningState") {
		t.Errorf("note: %s", r.Raw)
	}
}

func TestIfMatch(t *testing.T) {
	e, _ := newEnv(t, rptest.Options{})
	body := `{"location":"eastus"}`
	if r := e.Do("PUT", box, body, "If-Match", "*"); r.Status != 412 {
		t.Errorf("If-Match of nothing = %d", r.Status)
	}
	if r := e.Do("PUT", box, body, "If-None-Match", "*"); r.Status != 201 {
		t.Errorf("If-None-Match of nothing = %d", r.Status)
	}
	if r := e.Do("PUT", box, body, "If-None-Match", "*"); r.Status != 412 || r.Code() != "PreconditionFailed" {
		t.Errorf("If-None-Match of something = %d %s", r.Status, r.Raw)
	}
	etag := e.Want(200, "GET", box, nil).Body.String("etag")
	if r := e.Do("PUT", box, body, "If-Match", etag); r.Status != 200 {
		t.Errorf("If-Match = %d", r.Status)
	}
	for _, method := range []string{"PUT", "PATCH", "DELETE"} {
		if r := e.Do(method, box, body, "If-Match", etag); r.Status != 412 {
			t.Errorf("%s with the etag of before = %d", method, r.Status)
		}
	}
	if r := e.Do("DELETE", box, nil, "If-Match", "*"); r.Status != 200 {
		t.Errorf("DELETE with If-Match * = %d", r.Status)
	}
}

func TestIdentity(t *testing.T) {
	e, _ := newEnv(t, rptest.Options{})
	known := func(id string) (ok bool) {
		t.Helper()
		if err := e.Store.View(t.Context(), func(tx store.Tx) (err error) {
			_, ok, err = e.Directory.Lookup(tx, rptest.IdentityOf(id))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return ok
	}
	put := func(identity string) *rptest.Result {
		t.Helper()
		r := e.Do("PUT", box, `{"location":"eastus"`+identity+`}`)
		if r.Status/100 != 2 {
			t.Fatalf("PUT with %s = %d %s", identity, r.Status, r.Raw)
		}
		return r
	}
	r := put(`,"identity":{"type":"systemassigned","userAssignedIdentities":null}`)
	if r.Body.String("identity.principalId") != rptest.IdentityOf(box) || r.Body.String("identity.tenantId") != rptest.Tenant || !known(box) {
		t.Errorf("system-assigned: %s", r.Raw)
	}
	if r := put(``); r.Body.String("identity.principalId") != rptest.IdentityOf(box) || !known(box) {
		t.Errorf("a PUT that leaves it out: %s", r.Raw)
	}
	user := rptest.Group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-1"
	e.Want(201, "PUT", user, `{"properties":{"principalId":"p","clientId":"c"}}`)
	r = put(`,"identity":{"type":"SystemAssigned, UserAssigned","userAssignedIdentities":{"` + user + `":{}}}`)
	if m := r.Body.Object("identity.userAssignedIdentities"); len(m) != 1 || m[user].(map[string]any)["clientId"] != "c" || !known(box) {
		t.Errorf("both: %s", r.Raw)
	}
	if r := put(`,"identity":{"type":"None"}`); r.Body.String("identity.type") != "None" || r.Body.Has("identity.principalId") || known(box) {
		t.Errorf("none: %s", r.Raw)
	}
	put(`,"identity":{"type":"SystemAssigned"}`)
	e.Want(200, "DELETE", box, nil)
	if known(box) {
		t.Error("the identity outlived its resource")
	}
}

func TestActions(t *testing.T) {
	e, _ := newEnv(t, rptest.Options{})
	e.Want(201, "PUT", box, `{"location":"eastus"}`)
	for _, tc := range []struct{ method, path, on string }{
		{"POST", strings.ToLower(box) + "/OPEN", strings.ToLower(box)},
		{"GET", box + "/look", box},
		{"PUT", box + "/lid/lift", box},
		{"GET", rptest.Sub + "/providers/microsoft.toy/locations/eastus/things/T1", rptest.Sub},
		{"POST", rptest.Sub + "/providers/Microsoft.Toy/free", rptest.Sub},
	} {
		r := e.Want(200, tc.method, tc.path, `{"x":1}`)
		if !strings.EqualFold(r.Body.String("on"), tc.on) {
			t.Errorf("%s %s ran on %s", tc.method, tc.path, r.Body.String("on"))
		}
		if strings.Contains(tc.path, "things") && (len(r.Body.List("args")) != 2 || r.Body.List("args")[1] != "T1") {
			t.Errorf("args: %s", r.Raw)
		}
	}
	r := e.Want(202, "POST", box+"/wait", nil)
	if st := e.Want(200, "GET", r.Header.Get("Azure-AsyncOperation"), nil); st.Body.String("status") != "Succeeded" {
		t.Errorf("operation: %s", st.Raw)
	}
	if r := e.As(rptest.Guest, "POST", rptest.Sub+"/providers/Microsoft.Toy/free", nil); r.Status != 200 {
		t.Errorf("an action without a permission: %d", r.Status)
	}
	if r := e.As(rptest.Guest, "GET", rptest.Sub+"/providers/Microsoft.Toy/locations/eastus/things/T1", nil); r.Status != 403 {
		t.Errorf("a provider action with one: %d", r.Status)
	}
}

func TestDefault(t *testing.T) {
	e, _ := newEnv(t, rptest.Options{})
	at := box + "/settings/default"
	e.Want(404, "GET", at, nil)
	e.Want(201, "PUT", box, `{"location":"eastus"}`)
	e.Want(404, "GET", box+"/settings/other", nil)
	if r := e.Want(200, "GET", at, nil); r.Body.Bool("properties.on", true) || r.Body.String("name") != "default" {
		t.Errorf("default: %s", r.Raw)
	}
	if r := e.Want(200, "PATCH", at, `{"properties":{"on":true}}`); !r.Body.Bool("properties.on", false) || r.Body.Int("properties.level", 0) != 1 {
		t.Errorf("patched: %s", r.Raw)
	}
	if r := e.Want(200, "GET", at, nil); !r.Body.Bool("properties.on", false) {
		t.Errorf("stored: %s", r.Raw)
	}
}

func TestExtension(t *testing.T) {
	e, _ := newEnv(t, rptest.Options{})
	e.Want(201, "PUT", box, `{"location":"eastus"}`)
	for _, scope := range []string{"", rptest.Sub, rptest.Group, box} {
		e.Want(201, "PUT", scope+"/providers/Microsoft.Toy/marks/m", `{}`)
		r := e.Want(200, "GET", scope+"/providers/Microsoft.Toy/marks", nil)
		if !slices.Equal(r.Names(), []string{"m"}) {
			t.Errorf("marks on %q: %s", scope, r.Raw)
		}
	}
	e.Refused(404, "ResourceNotFound", "Box-2", "PUT", toys+"boxes/Box-2/providers/Microsoft.Toy/marks/m", `{}`)
	e.Refused(501, "NotImplementedByAzimuth", "Microsoft.Sql/servers", "PUT", rptest.Group+"/providers/Microsoft.Sql/servers/s/providers/Microsoft.Toy/marks/m", `{}`)
	e.Want(200, "DELETE", box, nil)
	e.Want(404, "GET", box+"/providers/Microsoft.Toy/marks/m", nil)
}
