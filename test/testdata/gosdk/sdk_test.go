// Package gosdk drives a cloud with Azure's SDK for Go and with hashicorp/go-azure-sdk,
// signed in as the environment says. It is a module of its own, so that these large
// packages are compiled for it alone.
package gosdk

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources/v4"
)

const region = "westeurope"

var team = map[string]*string{"team": to.Ptr("ml")}

// cloud is where a test works: a resource group of its own.
type cloud struct {
	ctx          context.Context
	subscription string
	credential   azcore.TokenCredential
	group, id    string
}

// newCloud makes a resource group, which a test leaves empty.
func newCloud(t *testing.T, group string) *cloud {
	t.Helper()
	t.Parallel()
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{ctx: t.Context(), subscription: os.Getenv("AZURE_SUBSCRIPTION_ID"), credential: credential, group: group}
	groups := must(armresources.NewResourceGroupsClient(c.subscription, credential, nil))(t)
	c.id = *must(groups.CreateOrUpdate(c.ctx, group, armresources.ResourceGroup{Location: to.Ptr(region)}, nil))(t).ID
	resources := must(armresources.NewClient(c.subscription, credential, nil))(t)
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		c.ctx = context.Background()
		for _, r := range all(t, c, resources.NewListByResourceGroupPager(group, nil), func(p armresources.ClientListByResourceGroupResponse) []*armresources.GenericResourceExpanded {
			return p.Value
		}) {
			t.Errorf("left: %s", *r.ID)
		}
		done(groups.BeginDelete(c.ctx, group, nil))(t, c)
	})
	return c
}

// must ends the test if what was asked for failed.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// done waits until a long-running operation has ended well.
func done[T any](p *runtime.Poller[T], err error) func(*testing.T, *cloud) T {
	return func(t *testing.T, c *cloud) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return must(p.PollUntilDone(c.ctx, nil))(t)
	}
}

// all is what every page of a list has.
func all[R, I any](t *testing.T, c *cloud, pager *runtime.Pager[R], items func(R) []I) []I {
	t.Helper()
	var out []I
	for pager.More() {
		out = append(out, items(must(pager.NextPage(c.ctx))(t))...)
	}
	return out
}

// has fails the test unless one of a list bears a name.
func has[I any](t *testing.T, what string, list []I, name string, nameOf func(I) *string) {
	t.Helper()
	if !slices.ContainsFunc(list, func(i I) bool { return strings.EqualFold(*nameOf(i), name) }) {
		t.Errorf("%s lack %s", what, name)
	}
}

// refused fails the test unless Azure's error has this status and code.
func refused(t *testing.T, err error, status int, code string) {
	t.Helper()
	var e *azcore.ResponseError
	if !errors.As(err, &e) || e.StatusCode != status || e.ErrorCode != code {
		t.Errorf("want %d %s, got %v", status, code, err)
	}
}

// missing fails the test unless the answer is that there is no such resource.
func missing(t *testing.T, err error) {
	t.Helper()
	refused(t, err, http.StatusNotFound, "ResourceNotFound")
}
