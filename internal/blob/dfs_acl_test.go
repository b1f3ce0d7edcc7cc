package blob

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake/directory"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake/file"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake/filesystem"
)

// Groups has everyone in the group "team-<name>" of their own, and "crew" besides.
func (w *world) Groups(_ context.Context, principal string) ([]string, error) {
	return []string{"team-" + principal, "crew"}, nil
}

// UserPrincipalName knows alice.
func (w *world) UserPrincipalName(_ context.Context, id string) (string, error) {
	if id == "alice" {
		return "alice@azimuth.local", nil
	}
	return "", nil
}

func chmod(tb testing.TB, fs *filesystem.Client, path string, o directory.SetAccessControlOptions) {
	tb.Helper()
	if _, err := fs.NewDirectoryClient(path).SetAccessControl(tb.Context(), &o); err != nil {
		tb.Fatal(path, err)
	}
}

func aclOf(tb testing.TB, fs *filesystem.Client, path string) string {
	tb.Helper()
	r := must[directory.GetAccessControlResponse](tb)(fs.NewDirectoryClient(path).GetAccessControl(tb.Context(), nil))
	return *r.ACL
}

func TestACLsDecideForWhoHasNoRole(t *testing.T) {
	w := newWorld(t)
	_, fs := w.lake()
	ctx := t.Context()
	alice, bob := w.lakeAs("alice"), w.lakeAs("bob")
	write(t, fs, "d/f", "content")
	write(t, fs, "d/sub/g", "below")

	const denied = "AuthorizationPermissionMismatch"
	_, err := read(ctx, alice.NewFileClient("d/f"))
	wantDFS(t, err, denied)

	// The right to the file alone is not enough; the way to it counts, too.
	chmod(t, fs, "d/f", directory.SetAccessControlOptions{ACL: to.Ptr("user::rw-,user:alice:r--,group::r--,other::---")})
	_, err = read(ctx, alice.NewFileClient("d/f"))
	wantDFS(t, err, denied)
	// The root has no name, and the SDK has a client for it.
	if _, err := fs.NewDirectoryClient("/").SetAccessControl(ctx, &directory.SetAccessControlOptions{ACL: to.Ptr("user::rwx,user:alice:--x,user:bob:--x,group::r-x,other::---")}); err != nil {
		t.Fatal(err)
	}
	chmod(t, fs, "d", directory.SetAccessControlOptions{ACL: to.Ptr("user::rwx,user:alice:--x,group::r-x,other::---")})
	if got, err := read(ctx, alice.NewFileClient("d/f")); got != "content" || err != nil {
		t.Errorf("read %q %v", got, err)
	}
	_, err = read(ctx, bob.NewFileClient("d/f"))
	wantDFS(t, err, denied)
	// Neither view of the account allows more than the other.
	blobs, err := container.NewClient("https://lake.blob.core.windows.net/tree", fixedToken("good-alice"), &container.ClientOptions{ClientOptions: w.options().ClientOptions})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := blobs.NewBlobClient("d/f").DownloadStream(ctx, nil); err != nil {
		t.Errorf("read as a blob: %v", err)
	} else {
		b, err := io.ReadAll(r.Body)
		if string(b) != "content" || err != nil {
			t.Errorf("read as a blob %q %v", b, err)
		}
		r.Body.Close()
	}
	_, err = blobs.NewBlockBlobClient("d/f").Upload(ctx, sbody("x"), nil)
	wantDFS(t, err, denied)
	_, err = blobs.NewBlockBlobClient("d/new").Upload(ctx, sbody("x"), nil)
	wantDFS(t, err, denied)
	_, err = blobs.NewBlobClient("d/f").Delete(ctx, nil)
	wantDFS(t, err, denied)
	_, err = blobs.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: to.Ptr("d/")}).NextPage(ctx)
	wantDFS(t, err, denied)

	// Write, list and delete take their own rights.
	_, err = alice.NewFileClient("d/f").AppendData(ctx, 7, sbody("x"), nil)
	wantDFS(t, err, denied)
	_, err = paths(ctx, alice, "d", false, 10)
	wantDFS(t, err, denied)
	wantDFS(t, writeTo(ctx, alice, "d/new", "x"), denied)
	_, err = alice.NewFileClient("d/f").Delete(ctx, nil)
	wantDFS(t, err, denied)
	_, err = alice.NewFileClient("d/f").SetAccessControl(ctx, &file.SetAccessControlOptions{Permissions: to.Ptr("0777")})
	wantDFS(t, err, denied)
	_, err = alice.NewFileClient("d/f").Rename(ctx, "d/h", nil)
	wantDFS(t, err, denied)
	chmod(t, fs, "d", directory.SetAccessControlOptions{ACL: to.Ptr("user::rwx,user:alice:rwx,group::r-x,other::---")})
	wantPaths(t, alice, "d", false, "d/f d/sub/")
	_, err = paths(ctx, alice, "d", true, 10) // d/sub is not hers to list
	wantDFS(t, err, denied)
	write(t, alice, "d/hers", "by alice")
	p := must[file.GetPropertiesResponse](t)(alice.NewFileClient("d/hers").GetProperties(ctx, nil))
	if *p.Owner != "alice" || *p.Group != superuser || *p.Permissions != "rw-r-----" {
		t.Errorf("new file: %s %s %s", *p.Owner, *p.Group, *p.Permissions)
	}
	must[file.SetAccessControlResponse](t)(alice.NewFileClient("d/hers").SetAccessControl(ctx, &file.SetAccessControlOptions{Permissions: to.Ptr("rw-rw-rw-")}))
	_, err = alice.NewFileClient("d/hers").SetAccessControl(ctx, &file.SetAccessControlOptions{Owner: to.Ptr("bob")})
	wantDFS(t, err, denied)
	must[file.RenameResponse](t)(alice.NewFileClient("d/hers").Rename(ctx, "d/renamed", nil))
	_, err = alice.NewDirectoryClient("d/sub").Delete(ctx, nil) // what is in it is not hers to delete
	wantDFS(t, err, denied)
	must[file.DeleteResponse](t)(alice.NewFileClient("d/renamed").Delete(ctx, nil))
	// A role still does what it did.
	w.grant("bob", "data "+rbacPrefix+"containers/blobs/read", "")
	if got, err := read(ctx, bob.NewFileClient("d/sub/g")); got != "below" || err != nil {
		t.Errorf("by role %q %v", got, err)
	}
	wantDFS(t, writeTo(ctx, bob, "d/bob", "x"), denied)
	// Without a role or entry a stranger learns nothing of what is there.
	_, err = read(ctx, w.lakeAs("eve").NewFileClient("d/none"))
	wantDFS(t, err, denied)
	w.sound()
}

func TestGroupsMasksAndTheStickyBit(t *testing.T) {
	w := newWorld(t)
	_, fs := w.lake()
	ctx := t.Context()
	alice := w.lakeAs("alice")
	const denied = "AuthorizationPermissionMismatch"
	chmod(t, fs, "/", directory.SetAccessControlOptions{Permissions: to.Ptr("0777")})
	write(t, fs, "f", "x")
	for _, x := range []struct{ acl, code string }{
		{"user::rw-,group::---,group:crew:r--,mask::r--,other::---", ""},
		{"user::rw-,group::---,group:crew:r--,mask::-wx,other::---", denied},
		{"user::rw-,group::---,group:others:rwx,mask::rwx,other::---", denied},
		{"user::rw-,group::---,group:team-alice:--x,group:crew:r--,other::---", ""}, // one of them is enough
		{"user::rw-,user:alice:---,group::---,group:crew:r--,other::r--", denied},   // her own entry decides
		{"user::rw-,group::---,other::r--", ""},
	} {
		chmod(t, fs, "f", directory.SetAccessControlOptions{ACL: to.Ptr(x.acl)})
		_, err := read(ctx, alice.NewFileClient("f"))
		if wantDFS(t, err, x.code); t.Failed() {
			t.Fatal(x.acl)
		}
	}
	// In a sticky directory only owners delete and move.
	must[directory.CreateResponse](t)(fs.NewDirectoryClient("tmp").Create(ctx, &directory.CreateOptions{Permissions: to.Ptr("1777"), Umask: to.Ptr("0000")}))
	if got := must[directory.GetAccessControlResponse](t)(fs.NewDirectoryClient("tmp").GetAccessControl(ctx, nil)); *got.Permissions != "rwxrwxrwt" {
		t.Errorf("permissions %s", *got.Permissions)
	}
	write(t, fs, "tmp/key", "x")
	write(t, alice, "tmp/hers", "x")
	_, err := alice.NewFileClient("tmp/key").Delete(ctx, nil)
	wantDFS(t, err, denied)
	_, err = alice.NewFileClient("tmp/key").Rename(ctx, "tmp/x", nil)
	wantDFS(t, err, denied)
	_, err = w.lakeAs("bob").NewFileClient("tmp/hers").Delete(ctx, nil)
	wantDFS(t, err, denied)
	must[file.DeleteResponse](t)(alice.NewFileClient("tmp/hers").Delete(ctx, nil))
	_, err = alice.NewDirectoryClient("tmp").Delete(ctx, nil)
	wantDFS(t, err, denied) // tmp/key is in it
	want(t, w.dfs("HEAD", "tree/f?action=checkAccess&fsAction=rwx", ""), 200, "")
	check := func(who, action string) int {
		req, err := http.NewRequestWithContext(ctx, "HEAD", lakeURL+"tree/f?action=checkAccess&fsAction="+action, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("x-ms-version", "2023-11-03")
		req.Header.Set("Authorization", "Bearer good-"+who)
		return w.send(req).StatusCode
	}
	if check("alice", "r--") != 200 || check("alice", "-w-") != 403 || check("alice", "q") != 400 {
		t.Error("checkAccess")
	}
}

func TestACLsAreInheritedAndShown(t *testing.T) {
	w := newWorld(t)
	_, fs := w.lake()
	ctx := t.Context()
	must[directory.CreateResponse](t)(fs.NewDirectoryClient("d").Create(ctx, nil))
	if got := aclOf(t, fs, "d"); got != "user::rwx,group::r-x,other::---" {
		t.Errorf("new directory %s", got)
	}
	chmod(t, fs, "d", directory.SetAccessControlOptions{ACL: to.Ptr("user::rwx,group::r-x,other::---,default:user:alice:rw-,default:group::r-x,default:other::r--")})
	const inherited = "default:user::rwx,default:user:alice:rw-,default:group::r-x,default:mask::rwx,default:other::r--"
	if got := aclOf(t, fs, "d"); got != "user::rwx,group::r-x,other::---,"+inherited {
		t.Errorf("set %s", got)
	}
	write(t, fs, "d/sub/f", "x")
	if got := aclOf(t, fs, "d/sub"); got != "user::rwx,user:alice:rw-,group::r-x,mask::rwx,other::r--,"+inherited {
		t.Errorf("directory %s", got)
	}
	if got := aclOf(t, fs, "d/sub/f"); got != "user::rwx,user:alice:rw-,group::r-x,mask::rwx,other::r--" {
		t.Errorf("file %s", got)
	}
	for _, bad := range []string{"user::rwx", "user::rwx,group::r-x,other::---,user::r--", "user::rwq,group::r-x,other::---", "x::rwx,group::r-x,other::---"} {
		_, err := fs.NewDirectoryClient("d").SetAccessControl(ctx, &directory.SetAccessControlOptions{ACL: &bad})
		wantDFS(t, err, "InvalidInput")
	}
	_, err := fs.NewFileClient("d/sub/f").SetAccessControl(ctx, &file.SetAccessControlOptions{ACL: to.Ptr("user::rwx,group::r-x,other::---,default:user::rwx")})
	wantDFS(t, err, "InvalidInput")

	// upn=true tells names.
	must[file.SetAccessControlResponse](t)(fs.NewFileClient("d/sub/f").SetAccessControl(ctx, &file.SetAccessControlOptions{Owner: to.Ptr("alice"), Group: to.Ptr("crew")}))
	r := must[file.GetAccessControlResponse](t)(fs.NewFileClient("d/sub/f").GetAccessControl(ctx, &file.GetAccessControlOptions{UPN: to.Ptr(true)}))
	if *r.Owner != "alice@azimuth.local" || *r.Group != "crew" || !strings.Contains(*r.ACL, "user:alice@azimuth.local:rw-") {
		t.Errorf("upn: %s %s %s", *r.Owner, *r.Group, *r.ACL)
	}
}

func TestRecursiveACLs(t *testing.T) {
	w := newWorld(t)
	_, fs := w.lake()
	ctx := t.Context()
	for i := range 3 {
		write(t, fs, fmt.Sprintf("r/d%d/f", i), "x")
	}
	d := fs.NewDirectoryClient("r")
	for _, batch := range []int32{1, 2, 3, 100} {
		res := must[directory.SetAccessControlRecursiveResponse](t)(d.SetAccessControlRecursive(ctx, "user::rwx,group::---,other::---", &directory.SetAccessControlRecursiveOptions{BatchSize: &batch}))
		if *res.DirectoriesSuccessful != 4 || *res.FilesSuccessful != 3 || *res.FailureCount != 0 {
			t.Errorf("set by %d: %d %d %d", batch, *res.DirectoriesSuccessful, *res.FilesSuccessful, *res.FailureCount)
		}
	}
	must[directory.UpdateAccessControlRecursiveResponse](t)(d.UpdateAccessControlRecursive(ctx, "user:alice:r-x,default:user:alice:r--", nil))
	const files = "user::rwx,user:alice:r-x,group::---,mask::r-x,other::---"
	if got := aclOf(t, fs, "r/d1/f"); got != files {
		t.Errorf("file %s", got)
	}
	if got := aclOf(t, fs, "r/d1"); got != files+",default:user::rwx,default:user:alice:r--,default:group::---,default:mask::r--,default:other::---" {
		t.Errorf("directory %s", got)
	}
	must[directory.RemoveAccessControlRecursiveResponse](t)(d.RemoveAccessControlRecursive(ctx, "user:alice,default:user:alice", nil))
	if got := aclOf(t, fs, "r/d1/f"); strings.Contains(got, "alice") {
		t.Errorf("file %s", got)
	}

	// What is not the caller's own is a failure: the first ends it, unless forced.
	chmod(t, fs, "/", directory.SetAccessControlOptions{Permissions: to.Ptr("0755")})
	for _, p := range []string{"r", "r/d0", "r/d2", "r/d2/f"} {
		chmod(t, fs, p, directory.SetAccessControlOptions{Owner: to.Ptr("alice"), ACL: to.Ptr("user::rwx,group::r-x,other::r-x")})
	}
	hers := w.lakeAs("alice").NewDirectoryClient("r")
	set := func(force bool) (out []string) {
		res := must[directory.SetAccessControlRecursiveResponse](t)(hers.SetAccessControlRecursive(ctx, "user::rwx,group::r--,other::r-x",
			&directory.SetAccessControlRecursiveOptions{ContinueOnFailure: &force, BatchSize: to.Ptr(int32(2))}))
		out = append(out, fmt.Sprint(*res.DirectoriesSuccessful, *res.FilesSuccessful, *res.FailureCount))
		for _, f := range res.FailedEntries {
			out = append(out, *f.Name+" "+*f.Type)
		}
		return out
	}
	if got := set(false); !slices.Equal(got, []string{"2 0 1", "r/d0/f FILE"}) {
		t.Errorf("stopped: %q", got)
	}
	if got := set(true); !slices.Equal(got, []string{"3 1 3", "r/d0/f FILE", "r/d1 DIRECTORY", "r/d1/f FILE"}) {
		t.Errorf("forced: %q", got)
	}
	want(t, w.dfs("PATCH", "tree/r?action=setAccessControlRecursive", "", "x-ms-acl", "user::rwx"), 400, "MissingRequiredQueryParameter")
	want(t, w.dfs("PATCH", "tree/r?action=setAccessControlRecursive&mode=set&maxRecords=0", "", "x-ms-acl", "user::rwx,group::r--,other::r-x"), 400, "InvalidQueryParameterValue")
	want(t, w.dfs("PATCH", "tree/none?action=setAccessControlRecursive&mode=set", "", "x-ms-acl", "user::rwx,group::r--,other::r-x"), 404, "PathNotFound")
}

// FuzzParseACL looks for lists that do not come back as they were written.
func FuzzParseACL(f *testing.F) {
	for _, s := range []string{"user::rwx,group::r-x,other::---", "user::rwx,user:a:r--,group::r-x,mask::rwx,other::---,default:user::rwx", ",", "user:::"} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, s string, isDir bool) {
		a, err := parseACL(s, isDir)
		if err != nil {
			return
		}
		b, err := parseACL(a.String(), isDir)
		if err != nil || b.String() != a.String() {
			t.Errorf("%q is %q, and that %q, %v", s, a, b, err)
		}
	})
}
