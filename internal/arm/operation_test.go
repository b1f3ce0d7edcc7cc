package arm_test

import (
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/clock"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

func TestCascade(t *testing.T) {
	e, y := newEnv(t, rptest.Options{})
	for _, path := range []string{"boxes/a", "boxes/a/items/b", "boxes/a/items/b/parts/c", "boxes/a/items/d", "boxes/z"} {
		e.Want(201, "PUT", toys+path, `{"location":"eastus"}`)
	}
	if r := e.Want(200, "DELETE", toys+"boxes/a/items/b/parts/c", nil); r.Body.String("name") != "c" {
		t.Errorf("DELETE with a body: %s", r.Raw)
	}
	e.Want(201, "PUT", toys+"boxes/a/items/b/parts/c", `{}`)
	y.deleted, y.after = nil, nil

	// a refusal below leaves everything as it was
	y.nailed = "z"
	e.Refused(409, "BoxIsNailed", "", "DELETE", rptest.Group, nil)
	if len(all(e, toys+"boxes?x=1")) != 2 || len(y.after) != 0 {
		t.Errorf("after a refusal: %v", y.after)
	}
	y.nailed, y.deleted = "", nil

	r := e.Want(http.StatusAccepted, "DELETE", rptest.Group, nil)
	want := []string{"c", "b", "d", "a", "z"}
	if !slices.Equal(y.deleted, want) || !slices.Equal(y.after, want) {
		t.Errorf("deleted %v, then %v, want %v", y.deleted, y.after, want)
	}
	if r.Header.Get("Retry-After") != "0" || r.Header.Get("Location") == "" || r.Header.Get("X-Go-Azure-Sdk-Skip-Polling-Delay") != "true" {
		t.Errorf("headers: %v", r.Header)
	}
	op := r.Header.Get("Azure-AsyncOperation")
	if st := e.Want(200, "GET", op, nil); st.Body.String("status") != "Succeeded" || st.Body.String("endTime") == "" {
		t.Errorf("operation: %s", st.Raw)
	}
	e.Want(200, "GET", r.Header.Get("Location"), nil)
	e.Want(404, "GET", rptest.Group, nil)
	e.Want(404, "GET", toys+"boxes/a", nil)
	if r := e.As(rptest.Guest, "GET", op, nil); r.Status != 404 {
		t.Errorf("someone else's operation: %d", r.Status)
	}
	if r := e.Want(200, "GET", rptest.Sub+"/resources", nil); len(r.Names()) != 0 {
		t.Errorf("left: %s", r.Raw)
	}
}

func TestRealistic(t *testing.T) {
	e, y := newEnv(t, rptest.Options{Realistic: true})
	r := e.Want(http.StatusCreated, "PUT", box, `{"location":"eastus"}`)
	if r.Body.String("properties.provisioningState") != "Creating" || r.Header.Get("Retry-After") != "10" || r.Header.Get("X-Go-Azure-Sdk-Skip-Polling-Delay") != "" {
		t.Errorf("create: %s", r.Raw)
	}
	op, result := r.Header.Get("Azure-AsyncOperation"), r.Header.Get("Location")
	if st := e.Want(200, "GET", op, nil); st.Body.String("status") != "InProgress" || st.Header.Get("Retry-After") != "10" {
		t.Errorf("operation: %s", st.Raw)
	}
	e.Want(http.StatusAccepted, "GET", result, nil)
	e.Clock.Step(time.Minute)
	if st := e.Want(200, "GET", op, nil); st.Body.String("status") != "Succeeded" {
		t.Errorf("operation: %s", st.Raw)
	}
	if r := e.Want(200, "GET", result, nil); r.Body.String("properties.provisioningState") != "Succeeded" {
		t.Errorf("result: %s", r.Raw)
	}
	if r := e.Want(200, "PATCH", box, `{"tags":{"a":"b"}}`); r.Body.String("properties.provisioningState") != "Updating" {
		t.Errorf("update: %s", r.Raw)
	}
	e.Clock.Step(time.Minute)

	// a deletion that is refused when its time comes leaves the resource
	y.nailed = "Box-1"
	r = e.Want(http.StatusAccepted, "DELETE", box, nil)
	if got := e.Want(200, "GET", box, nil); got.Body.String("properties.provisioningState") != "Deleting" {
		t.Errorf("deleting: %s", got.Raw)
	}
	e.Clock.Step(time.Minute)
	if st := e.Want(200, "GET", r.Header.Get("Azure-AsyncOperation"), nil); st.Body.String("status") != "Failed" || st.Body.String("error.code") != "BoxIsNailed" {
		t.Errorf("refused: %s", st.Raw)
	}
	if got := e.Want(200, "GET", box, nil); got.Body.String("properties.provisioningState") != "Succeeded" {
		t.Errorf("after the refusal: %s", got.Raw)
	}
	y.nailed = ""
	e.Want(http.StatusAccepted, "DELETE", box, nil)
	e.Clock.Step(time.Minute)
	e.Want(404, "GET", box, nil)
}

// A deletion under way goes on in the next process.
func TestResume(t *testing.T) {
	opt := rptest.Options{Realistic: true, Path: filepath.Join(t.TempDir(), "azimuth.db"), Clock: clock.NewManual(rptest.Start())}
	y := &toy{}
	e, stop := rptest.Open(t, opt, groups(), identityTypes(), y.provider())
	e.NewGroup()
	e.Want(201, "PUT", box, `{"location":"eastus"}`)
	opt.Clock.Step(time.Hour)
	op := e.Want(202, "DELETE", box+"?mode=quick", nil).Header.Get("Azure-AsyncOperation")
	stop()
	opt.Clock = clock.NewManual(opt.Clock.Now()) // its timers went with the process

	again := &toy{}
	e, stop = rptest.Open(t, opt, groups(), identityTypes(), again.provider())
	defer stop()
	if st := e.Want(200, "GET", op, nil); st.Body.String("status") != "InProgress" {
		t.Errorf("after the restart: %s", st.Raw)
	}
	e.Want(200, "GET", box, nil)
	opt.Clock.Step(time.Minute)
	if st := e.Want(200, "GET", op, nil); st.Body.String("status") != "Succeeded" {
		t.Errorf("in the end: %s", st.Raw)
	}
	e.Want(404, "GET", box, nil)
	if !slices.Equal(again.deleted, []string{"Box-1"}) || !slices.Equal(again.after, []string{"Box-1"}) {
		t.Errorf("hooks: %v, %v", again.deleted, again.after)
	}
}

func TestNew(t *testing.T) {
	typ := func(name string) *arm.ResourceType { return &arm.ResourceType{Type: name} }
	for _, tc := range []struct {
		name  string
		types []*arm.ResourceType
	}{
		{"other namespace", []*arm.ResourceType{typ("Microsoft.Other/x")}},
		{"twice", []*arm.ResourceType{typ("Microsoft.Toy/x"), typ("microsoft.toy/X")}},
		{"no parent", []*arm.ResourceType{typ("Microsoft.Toy/x/y")}},
	} {
		if _, err := arm.New(arm.Config{Providers: []*arm.Provider{{Namespace: "Microsoft.Toy", Types: tc.types}}}); err == nil {
			t.Errorf("%s: New accepted it", tc.name)
		}
	}
}
