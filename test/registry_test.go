package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/containers/azcontainerregistry"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	orasmemory "oras.land/oras-go/v2/content/memory"
	orasremote "oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// registryStack has two registries, of which one has its admin user on, and reads
// one back.
const registryStack = `
terraform {
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.0"
    }
  }
}

provider "azurerm" {
  features {}
}

resource "azurerm_resource_group" "it" {
  name     = "rg-registry"
  location = "westeurope"
}

resource "azurerm_container_registry" "one" {
  name                = "acrOne1"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  sku                 = "Standard"
  admin_enabled       = true
}

resource "azurerm_container_registry" "two" {
  name                = "acrtwo2"
  location            = azurerm_resource_group.it.location
  resource_group_name = azurerm_resource_group.it.name
  sku                 = "Basic"
}

data "azurerm_container_registry" "one" {
  name                = azurerm_container_registry.one.name
  resource_group_name = azurerm_resource_group.it.name
}

output "server" {
  value = data.azurerm_container_registry.one.login_server
}

output "user" {
  value = data.azurerm_container_registry.one.admin_username
}

output "password" {
  value     = data.azurerm_container_registry.one.admin_password
  sensitive = true
}

output "no_user" {
  value = azurerm_container_registry.two.admin_username == null || azurerm_container_registry.two.admin_username == ""
}
`

const (
	serverOne = "acrone1.azurecr.io"
	serverTwo = "acrtwo2.azurecr.io"
	groupACR  = subscription + "/resourceGroups/rg-registry/providers/Microsoft.ContainerRegistry/registries/"
)

// registryEnv is an environment of registryStack, and the admin user's credentials
// as the stack's outputs have them.
func registryEnv(t testing.TB) (e *env, dir, user, password string) {
	t.Helper()
	needTerraform(t)
	e = newEnv(t)
	dir = write(t, map[string]string{"main.tf": registryStack})
	e.run("up", dir)
	var out map[string]struct{ Value any }
	if err := json.Unmarshal([]byte(e.run("terraform", "-chdir="+dir, "output", "-json")), &out); err != nil {
		t.Fatal(err)
	}
	if out["server"].Value != serverOne || out["no_user"].Value != true {
		t.Errorf("outputs: %v, %v", out["server"], out["no_user"])
	}
	return e, dir, fmt.Sprint(out["user"].Value), fmt.Sprint(out["password"].Value)
}

// TestRegistry drives registries with the libraries that tools are made of.
func TestRegistry(t *testing.T) {
	t.Parallel()
	e, dir, user, password := registryEnv(t)
	w := e.wire()
	t.Run("go-containerregistry", func(t *testing.T) { withCrane(t, w, user, password) })
	t.Run("oras", func(t *testing.T) { withORAS(t, w) })
	t.Run("azcontainerregistry", func(t *testing.T) { withSDK(t, w) })
	t.Run("conformance", func(t *testing.T) { ociConformance(t, e, user, password) })
	t.Run("az", func(t *testing.T) { withAz(t, e, w) })
	t.Run("@azure/container-registry", func(t *testing.T) { withNPM(t, e) })
	t.Run("roles", func(t *testing.T) { withRoles(t, e, w) })

	// once the stack turns the admin user off, its password is nothing
	off := strings.Replace(registryStack, "admin_enabled       = true", "admin_enabled       = false", 1)
	off = off[:strings.Index(off, `output "user"`)] // which there is no more
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(off), 0o600); err != nil {
		t.Fatal(err)
	}
	e.run("up", dir)
	admin := crane{t, e.wire(), &authn.Basic{Username: user, Password: password}}
	if _, err := remote.Image(admin.ref(serverOne+"/team/busy:1"), admin.opts()...); err == nil {
		t.Error("the admin user pulls although it is off")
	}
	log, err := os.ReadFile(filepath.Join(e.home, "run", "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{password, w.owner.ClientSecret, "eyJ"} { // as tokens begin
		if bytes.Contains(log, []byte(secret)) {
			t.Errorf("the log has %q", secret)
		}
	}
	// a registry goes with its images
	e.run("down", dir)
	e.await("the files of the registries are gone", func() bool {
		left, err := filepath.Glob(filepath.Join(e.home, "registries", "*"))
		return err == nil && len(left) == 0
	})
	e.run("reset", "--yes")
	left, err := os.ReadDir(e.home)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		if f.Name() != "tools" {
			t.Errorf("reset leaves %s", f.Name())
		}
	}
}

// crane is how go-containerregistry is told of the cloud, and who it is.
type crane struct {
	t testing.TB
	w *wire
	a authn.Authenticator
}

func (c crane) opts() []remote.Option {
	return []remote.Option{remote.WithTransport(c.w.http.Transport), remote.WithAuth(c.a), remote.WithContext(c.t.Context())}
}

func (c crane) ref(text string) name.Reference {
	c.t.Helper()
	r, err := name.ParseReference(text)
	c.must(err)
	return r
}

func (c crane) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c crane) push(ref string, img v1.Image) {
	c.t.Helper()
	c.must(remote.Write(c.ref(ref), img, c.opts()...))
}

// pull pulls an image and compares all of it with its digests.
func (c crane) pull(ref string) v1.Image {
	c.t.Helper()
	img, err := remote.Image(c.ref(ref), c.opts()...)
	c.must(err)
	c.must(validate.Image(img))
	return img
}

// withCrane pushes, pulls, lists, copies and deletes as the admin user and as a
// service principal.
func withCrane(t *testing.T, w *wire, user, password string) {
	admin := crane{t, w, &authn.Basic{Username: user, Password: password}}
	owner := crane{t, w, &authn.Basic{Username: w.owner.ClientID, Password: w.owner.ClientSecret}}

	img, err := random.Image(200_000, 3)
	admin.must(err)
	admin.push(serverOne+"/team/train:1", img)
	img = owner.pull(serverOne + "/team/train:1")
	// an index for two platforms
	index, err := random.Index(50_000, 2, 2)
	owner.must(err)
	owner.must(remote.WriteIndex(owner.ref(serverOne+"/team/multi:latest"), index, owner.opts()...))
	index, err = remote.Index(admin.ref(serverOne+"/team/multi:latest"), admin.opts()...)
	admin.must(err)
	admin.must(validate.Index(index))
	// a copy to another repository mounts its layers, and one to another registry pushes
	admin.push(serverOne+"/copy:1", img)
	owner.push(serverTwo+"/copy:1", img)
	owner.pull(serverTwo + "/copy:1")

	registry, err := name.NewRegistry(serverOne)
	admin.must(err)
	repos, err := remote.Catalog(t.Context(), registry, admin.opts()...)
	if err != nil || !slices.Equal(repos, []string{"copy", "team/multi", "team/train"}) {
		t.Errorf("catalogue is %q, %v", repos, err)
	}
	tags, err := remote.List(admin.ref(serverOne+"/team/train:1").Context(), admin.opts()...)
	if err != nil || !slices.Equal(tags, []string{"1"}) {
		t.Errorf("tags are %q, %v", tags, err)
	}
	for who, a := range map[string]authn.Authenticator{
		"another password":                    &authn.Basic{Username: user, Password: password + "x"},
		"nobody":                              authn.Anonymous,
		"the other registry, with this one's": &authn.Basic{Username: "acrtwo2", Password: password},
	} {
		for _, server := range []string{serverOne, serverTwo} {
			c := crane{t, w, a}
			if _, err := remote.Image(c.ref(server+"/copy:1"), c.opts()...); err == nil {
				t.Errorf("%s can pull from %s", who, server)
			}
		}
	}
	if _, err := remote.Image(admin.ref(serverTwo+"/copy:1"), admin.opts()...); err == nil {
		t.Error("the admin user of one registry can pull from another")
	}
	digest, err := img.Digest()
	admin.must(err)
	admin.must(remote.Delete(admin.ref(serverOne+"/team/train@"+digest.String()), admin.opts()...))
	if _, err := remote.Image(owner.ref(serverOne+"/team/train:1"), owner.opts()...); err == nil {
		t.Error("a deleted image can be pulled")
	}
}

// withORAS pushes artifacts that refer to others, finds them by their type, and
// copies a graph of them.
func withORAS(t *testing.T, w *wire) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	repo := func(ref string) *orasremote.Repository {
		r, err := orasremote.NewRepository(ref)
		must(err)
		host, _, _ := strings.Cut(ref, "/")
		r.Client = &auth.Client{Client: w.http, Cache: auth.NewCache(), Credential: auth.StaticCredential(host,
			auth.Credential{RefreshToken: w.refreshToken(t, host)})}
		return r
	}
	local := orasmemory.New()
	pack := func(kind, text string, subject *ocispec.Descriptor) ocispec.Descriptor {
		layer, err := oras.PushBytes(ctx, local, "application/octet-stream", []byte(text))
		must(err)
		d, err := oras.PackManifest(ctx, local, oras.PackManifestVersion1_1, kind, oras.PackManifestOptions{Subject: subject, Layers: []ocispec.Descriptor{layer}})
		must(err)
		return d
	}
	model := pack("application/vnd.example.model", "weights", nil)
	must(local.Tag(ctx, model, "v1"))
	sbom := pack("application/vnd.example.sbom", "parts", &model)
	signature := pack("application/vnd.example.signature", "signed", &sbom)
	one := repo(serverOne + "/models/net")
	_, err := oras.Copy(ctx, local, "v1", one, "v1", oras.DefaultCopyOptions)
	must(err)
	for _, d := range []ocispec.Descriptor{sbom, signature} {
		must(oras.CopyGraph(ctx, local, one, d, oras.DefaultCopyGraphOptions))
	}
	find := func(r *orasremote.Repository, of ocispec.Descriptor, kind string) (out []ocispec.Descriptor) {
		must(r.Referrers(ctx, of, kind, func(found []ocispec.Descriptor) error {
			out = append(out, found...)
			return nil
		}))
		return out
	}
	if got := find(one, model, "application/vnd.example.sbom"); len(got) != 1 || got[0].Digest != sbom.Digest || got[0].ArtifactType != "application/vnd.example.sbom" {
		t.Errorf("referrers are %+v", got)
	}
	if got := find(one, model, "application/vnd.example.other"); len(got) != 0 {
		t.Errorf("referrers of another type are %+v", got)
	}
	// the whole graph, to another registry
	two := repo(serverTwo + "/models/net")
	_, err = oras.ExtendedCopy(ctx, one, "v1", two, "v1", oras.DefaultExtendedCopyOptions)
	must(err)
	if got := find(two, sbom, ""); len(got) != 1 || got[0].Digest != signature.Digest {
		t.Errorf("referrers at the copy are %+v", got)
	}
	_, text, err := oras.FetchBytes(ctx, two, "v1", oras.DefaultFetchBytesOptions)
	if err != nil || !bytes.Contains(text, []byte("vnd.example.model")) {
		t.Errorf("manifest is %s, %v", text, err)
	}
	must(two.Delete(ctx, model))
	if got := find(two, model, ""); len(got) != 0 {
		t.Errorf("what referred to a deleted artifact is %+v", got)
	}
}

// refreshToken exchanges a token of the owner, as az acr login does.
func (w *wire) refreshToken(t testing.TB, host string) string {
	t.Helper()
	a, err := w.do(t.Context(), "", http.MethodPost, "https://"+host+"/oauth2/exchange", map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
		url.Values{"grant_type": {"access_token"}, "service": {host}, "access_token": {w.tokens[forARM]}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	var token struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.Unmarshal(a.body, &token); err != nil || token.RefreshToken == "" {
		t.Fatalf("exchange: %d %s", a.status, a.body)
	}
	return token.RefreshToken
}

// withSDK uploads and downloads in chunks, lists, locks and deletes with Azure's SDK.
func withSDK(t *testing.T, w *wire) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	token, err := w.signIn(ctx, "https://containerregistry.azure.net")
	must(err)
	opts := azcore.ClientOptions{Transport: w.http}
	client, err := azcontainerregistry.NewClient("https://"+serverOne, fixedToken(token), &azcontainerregistry.ClientOptions{ClientOptions: opts})
	must(err)
	blobs, err := azcontainerregistry.NewBlobClient("https://"+serverOne, fixedToken(token), &azcontainerregistry.BlobClientOptions{ClientOptions: opts})
	must(err)
	push := func(repo string, chunks ...string) (string, int) {
		start, err := blobs.StartUpload(ctx, repo, nil)
		must(err)
		sum, at, n := azcontainerregistry.NewBlobDigestCalculator(), *start.Location, 0
		for _, c := range chunks {
			up, err := blobs.UploadChunk(ctx, at, strings.NewReader(c), sum, nil)
			must(err)
			at, n = *up.Location, n+len(c)
		}
		done, err := blobs.CompleteUpload(ctx, at, sum, nil)
		must(err)
		return *done.DockerContentDigest, n
	}
	config, configSize := push("sdk/image", `{"architecture":"arm64",`, `"os":"linux"}`)
	layer, layerSize := push("sdk/image", strings.Repeat("a", 70_000), strings.Repeat("b", 70_000))
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`,
		config, configSize, layer, layerSize)
	const kind = azcontainerregistry.ContentTypeApplicationVndOciImageManifestV1JSON
	var digest string
	for _, tag := range []string{"1", "2", "3"} {
		up, err := client.UploadManifest(ctx, "sdk/image", tag, kind, streaming.NopCloser(strings.NewReader(manifest)), nil)
		must(err)
		digest = *up.DockerContentDigest
	}
	mounted, err := blobs.MountBlob(ctx, "sdk/copy", "sdk/image", layer, nil)
	if err != nil || *mounted.DockerContentDigest != layer {
		t.Errorf("mount: %+v, %v", mounted, err)
	}
	if there, err := blobs.CheckBlobExists(ctx, "sdk/copy", layer, nil); err != nil || *there.ContentLength != int64(layerSize) {
		t.Errorf("check: %+v, %v", there, err)
	}
	part, err := blobs.GetChunk(ctx, "sdk/image", layer, "bytes=69999-70000", nil)
	must(err)
	if b, err := io.ReadAll(part.ChunkData); err != nil || string(b) != "ab" {
		t.Errorf("chunk is %q, %v", b, err)
	}
	whole, err := blobs.GetBlob(ctx, "sdk/image", layer, nil)
	must(err)
	reader, err := azcontainerregistry.NewDigestValidationReader(layer, whole.BlobData)
	must(err)
	if n, err := io.Copy(io.Discard, reader); err != nil || n != int64(layerSize) {
		t.Errorf("blob has %d bytes, %v", n, err)
	}
	got, err := client.GetManifest(ctx, "sdk/image", "2", nil)
	must(err)
	if b, err := io.ReadAll(got.ManifestData); err != nil || string(b) != manifest || *got.DockerContentDigest != digest {
		t.Errorf("manifest is %s, %v", b, err)
	}
	var tags []string
	for pager := client.NewListTagsPager("sdk/image", &azcontainerregistry.ClientListTagsOptions{MaxNum: to.Ptr[int32](2)}); pager.More(); {
		page, err := pager.NextPage(ctx)
		must(err)
		for _, tag := range page.Tags {
			tags = append(tags, *tag.Name)
		}
	}
	if !slices.Equal(tags, []string{"1", "2", "3"}) {
		t.Errorf("tags are %q", tags)
	}
	page, err := client.NewListManifestsPager("sdk/image", nil).NextPage(ctx)
	must(err)
	if m := page.Attributes; len(m) != 1 || *m[0].Digest != digest || *m[0].Architecture != azcontainerregistry.ArtifactArchitectureArm64 || len(m[0].Tags) != 3 || *m[0].Size != int64(configSize+layerSize) {
		t.Errorf("manifests are %+v", m)
	}
	repo, err := client.GetRepositoryProperties(ctx, "sdk/image", nil)
	if err != nil || *repo.ManifestCount != 1 || *repo.TagCount != 3 || *repo.RegistryLoginServer != serverOne {
		t.Errorf("repository is %+v, %v", repo, err)
	}
	lock := &azcontainerregistry.ClientUpdateTagPropertiesOptions{Value: &azcontainerregistry.TagWriteableProperties{CanWrite: to.Ptr(false)}}
	locked, err := client.UpdateTagProperties(ctx, "sdk/image", "1", lock)
	if err != nil || *locked.Tag.ChangeableAttributes.CanWrite || !*locked.Tag.ChangeableAttributes.CanRead {
		t.Errorf("locked tag is %+v, %v", locked, err)
	}
	refused := func(err error, status int, code string) {
		t.Helper()
		if e := (*azcore.ResponseError)(nil); !errors.As(err, &e) || e.StatusCode != status || !strings.Contains(e.Error(), code) {
			t.Errorf("want %d %s, got %v", status, code, err)
		}
	}
	_, err = client.UploadManifest(ctx, "sdk/image", "1", kind, streaming.NopCloser(strings.NewReader(manifest)), nil)
	refused(err, 405, "REGISTRY_DISALLOWED_OPERATION")
	_, err = client.DeleteTag(ctx, "sdk/image", "1", nil)
	refused(err, 405, "REGISTRY_DISALLOWED_OPERATION")
	lock.Value.CanWrite = to.Ptr(true)
	_, err = client.UpdateTagProperties(ctx, "sdk/image", "1", lock)
	must(err)
	_, err = client.DeleteTag(ctx, "sdk/image", "1", nil)
	must(err)
	_, err = client.GetTagProperties(ctx, "sdk/image", "1", nil)
	refused(err, 404, "TAG_UNKNOWN")
	_, err = client.DeleteManifest(ctx, "sdk/image", digest, nil)
	must(err)
	_, err = client.DeleteRepository(ctx, "sdk/image", nil)
	must(err)
	_, err = client.GetRepositoryProperties(ctx, "sdk/image", nil)
	refused(err, 404, "NAME_UNKNOWN")
}

// withRoles holds each built-in role to what it lets do.
func withRoles(t *testing.T, e *env, w *wire) {
	e = &env{t: t, home: e.home, addr: e.addr}
	owner := crane{t, w, &authn.Basic{Username: w.owner.ClientID, Password: w.owner.ClientSecret}}
	img, err := random.Image(1000, 1)
	owner.must(err)
	for role, want := range map[string]string{
		"AcrPull": "pull", "AcrPush": "pull push", "AcrDelete": "delete", "Reader": "pull", "Contributor": "pull push delete", "Owner": "pull push delete",
		"Storage Blob Data Owner": "",
	} {
		owner.push(serverOne+"/roles:1", img)
		var sp struct{ ClientID, ClientSecret string }
		if err := json.Unmarshal([]byte(e.run("identity", "create", "sp", strings.ReplaceAll(role, " ", "-"), "--role", role, "--scope", groupACR+"acrOne1")), &sp); err != nil {
			t.Fatal(err)
		}
		c := crane{t, w, &authn.Basic{Username: sp.ClientID, Password: sp.ClientSecret}}
		var can []string
		if _, err := remote.Image(c.ref(serverOne+"/roles:1"), c.opts()...); err == nil {
			can = append(can, "pull")
		}
		if remote.Write(c.ref(serverOne+"/roles:2"), img, c.opts()...) == nil {
			can = append(can, "push")
		}
		if _, err := remote.Image(c.ref(serverTwo+"/copy:1"), c.opts()...); err == nil {
			t.Errorf("%s on one registry pulls from another", role)
		}
		d, err := img.Digest()
		owner.must(err)
		if remote.Delete(c.ref(serverOne+"/roles@"+d.String()), c.opts()...) == nil {
			can = append(can, "delete")
		}
		if got := strings.Join(can, " "); got != want {
			t.Errorf("%s can %q, want %q", role, got, want)
		}
	}
}
