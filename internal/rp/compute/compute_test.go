package compute_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/catalog"
	"github.com/azimuth-ml/azimuth/internal/rp/compute"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

func TestSizes(t *testing.T) {
	cat, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	e := rptest.New(t, rptest.Options{}, compute.Provider(cat))
	const base = rptest.Sub + "/providers/Microsoft.Compute/"
	names := func(path string) string {
		var out []string
		for _, v := range e.Want(http.StatusOK, "GET", base+path, nil).Body.List("value") {
			out = append(out, arm.Doc(v.(map[string]any)).String("name"))
		}
		return " " + strings.Join(out, " ") + " "
	}
	for path, want := range map[string]bool{ // a size that norwaywest lacks
		"skus?$filter=location+eq+'eastus'": true, "skus?$filter=location+eq+'norwaywest'": false,
		"locations/East%20US/vmSizes": true, "locations/norwaywest/vmSizes": false,
	} {
		got := names(path)
		if strings.Contains(got, " Standard_NC6s_v3 ") || strings.Contains(got, " Standard_NC4as_T4_v3 ") != want || !strings.Contains(got, " Standard_D4s_v3 ") {
			t.Errorf("%s: %s", path, got)
		}
	}
	r := e.Want(http.StatusOK, "GET", base+"skus?$filter=location+eq+'eastus'", nil)
	for _, want := range []string{`"family":"standardDSv3Family"`, `{"name":"vCPUs","value":"4"}`, `"resourceType":"virtualMachines"`, `"size":"D4s_v3"`} {
		if !strings.Contains(r.Raw, want) {
			t.Errorf("no %s", want)
		}
	}
	if got := names("skus?$filter=location+eq+'moon'"); got != "  " {
		t.Errorf("on the moon: %s", got)
	}
	e.Refused(http.StatusNotImplemented, "NotImplementedByAzimuth", "", "GET", base+"skus?$filter=name+eq+'x'", nil)
	e.Refused(http.StatusBadRequest, "NoRegisteredProviderFound", "moon", "GET", base+"locations/moon/vmSizes", nil)
	e.Refused(http.StatusNotImplemented, "NotImplementedByAzimuth", "", "GET", base+"virtualMachines", nil)
}
