package resources_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/rp/resources"
	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

func TestResourceGroup(t *testing.T) {
	e := rptest.New(t, rptest.Options{}, resources.Provider())
	group := rptest.Sub + "/resourcegroups/RG-One"
	if r := e.Do(http.MethodHead, group, nil); r.Status != http.StatusNotFound {
		t.Errorf("HEAD before = %d", r.Status)
	}
	r := e.Want(http.StatusCreated, "PUT", group, `{"location":"East US","tags":{"a":"b"}}`)
	if r.Body.String("location") != "eastus" || r.Body.String("type") != "Microsoft.Resources/resourceGroups" ||
		r.Body.String("id") != rptest.Sub+"/resourceGroups/RG-One" || r.Body.String("properties.provisioningState") != "Succeeded" {
		t.Errorf("created: %s", r.Raw)
	}
	if r := e.Do(http.MethodHead, group, nil); r.Status != http.StatusNoContent {
		t.Errorf("HEAD = %d", r.Status)
	}
	e.Want(http.StatusOK, "PUT", group, `{"location":"eastus","tags":{"c":"d"}}`)
	e.Refused(http.StatusConflict, "InvalidResourceGroupLocation", "already exists in location 'eastus'", "PUT", group, `{"location":"westus"}`)
	e.Refused(http.StatusBadRequest, "LocationRequired", "", "PUT", rptest.Sub+"/resourceGroups/x", `{}`)
	e.Refused(http.StatusBadRequest, "LocationNotAvailableForResourceGroup", "moon", "PUT", rptest.Sub+"/resourceGroups/x", `{"location":"moon"}`)
	e.Refused(http.StatusBadRequest, "InvalidResourceName", "end with", "PUT", rptest.Sub+"/resourceGroups/x.", `{"location":"eastus"}`)

	for _, n := range []string{"b", "c", "d"} {
		e.Want(http.StatusCreated, "PUT", rptest.Sub+"/resourceGroups/"+n, `{"location":"eastus","tags":{"team":"x"}}`)
	}
	r = e.Want(http.StatusOK, "GET", rptest.Sub+"/resourcegroups?$top=2", nil)
	var names []string
	for {
		names = append(names, r.Names()...)
		next := r.Body.String("nextLink")
		if next == "" {
			break
		}
		r = e.Want(http.StatusOK, "GET", next, nil)
	}
	if want := []string{"b", "c", "d", "RG-One"}; !slices.Equal(names, want) {
		t.Errorf("list = %v, want %v", names, want)
	}
	r = e.Want(http.StatusOK, "GET", rptest.Sub+"/resourcegroups?$filter=tagName eq 'team' and tagValue eq 'x'", nil)
	if got := r.Names(); !slices.Equal(got, []string{"b", "c", "d"}) {
		t.Errorf("filtered = %v", got)
	}

	r = e.Want(http.StatusAccepted, "DELETE", group, nil)
	if r := e.Want(http.StatusOK, "GET", r.Header.Get("Azure-AsyncOperation"), nil); r.Body.String("status") != "Succeeded" {
		t.Errorf("operation: %s", r.Raw)
	}
	e.Refused(http.StatusNotFound, "ResourceGroupNotFound", "RG-One", "GET", group, nil)
	e.Refused(http.StatusNotFound, "ResourceGroupNotFound", "RG-One", "DELETE", group, nil)
}
