package ml

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// asset is a kind of asset: containers with versions.
type asset struct {
	// plural is the segment of the path, "environments".
	plural string
	// path is the property that says where the content is, or "".
	path string
	// immutable are further properties of a version that cannot change.
	immutable []string
	// required are properties without which a version is refused.
	required []string
	// fixed is a property of the container that its versions share, or "".
	fixed string
}

func assetKinds() []asset {
	return []asset{
		{plural: "codes", path: "codeUri", required: []string{"codeUri"}},
		{plural: "environments", immutable: []string{"image", "condaFile", "build.contextUri", "build.dockerfilePath"}},
		{plural: "data", path: "dataUri", immutable: []string{"dataType"}, required: []string{"dataUri", "dataType"}, fixed: "dataType"},
		{plural: "models", path: "modelUri", immutable: []string{"modelType"}, required: []string{"modelUri"}},
		{plural: "components", immutable: []string{"componentSpec"}, required: []string{"componentSpec"}},
	}
}

// assetName is what azure-ai-ml accepts for names of assets.
func assetName() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$`) }

func assetRule(what string) arm.NameRule {
	const text = "It must have 1 to 255 letters, digits, hyphens, dots and underscores and begin with a letter or digit."
	return arm.NameRule{Pattern: assetName(), Text: text, Error: func(name string) *arm.Error {
		return userError("name", "The %s '%s' is invalid. %s", what, name, text)
	}}
}

// containerType describes what the versions of an asset stand in. It comes into
// being with the first version.
func (s *Service) containerType(a asset) *arm.ResourceType {
	return &arm.ResourceType{
		Type: typeWorkspace + "/" + a.plural, Name: assetRule("asset name"),
		SystemData: true,
		PutStatus:  [2]int{http.StatusCreated, http.StatusOK},
		Methods:    []string{http.MethodGet, http.MethodPut, http.MethodDelete},
		Validate: func(_ context.Context, p *arm.Put) error {
			props := p.Resource.Body.Object("properties")
			if props == nil {
				p.Resource.Body["properties"] = map[string]any{}
				props = p.Resource.Body.Object("properties")
			}
			if p.Existing != nil && a.fixed != "" {
				if err := p.Immutable("properties." + a.fixed); err != nil {
					return err
				}
			}
			return checkTexts(props)
		},
		Put: func(_ context.Context, p *arm.Put) error {
			props := p.Resource.Body.Object("properties")
			props.Delete("latestVersion")
			props.Delete("nextVersion")
			p.Force("properties.latestVersion", "properties.nextVersion")
			props.Default("isArchived", false)
			p.Keep("properties.tags", "properties.description")
			return nil
		},
		Read: func(_ context.Context, _ store.Tx, r *arm.Resource) error {
			r.Body.Default("properties.nextVersion", "1")
			return nil
		},
		Default: func(_ context.Context, _ store.Tx, id arm.ID) (*arm.Resource, error) {
			if a.plural == "environments" && curated(id.Name()) {
				return curatedContainer(id), nil
			}
			return nil, nil
		},
		List: s.listAssets(a.plural),
	}
}

// impliedContainer is the container that a first version makes.
func (s *Service) impliedContainer(_ context.Context, _ store.Tx, id arm.ID) (*arm.Resource, error) {
	now := s.cfg.Clock.Now()
	return &arm.Resource{
		ID: id.String(), UID: uuid.NewString(), ETag: uuid.NewString(), Created: now, Modified: now, Private: arm.Doc{},
		Body: arm.Doc{"properties": map[string]any{"isArchived": false, "tags": map[string]any{}, "properties": map[string]any{}}},
	}, nil
}

func (s *Service) versionType(a asset) *arm.ResourceType {
	path := func(name string) string { return "properties." + name }
	t := &arm.ResourceType{
		Type: typeWorkspace + "/" + a.plural + "/versions", Name: assetRule("asset version"),
		SystemData: true,
		PutStatus:  [2]int{http.StatusCreated, http.StatusOK},
		Methods:    []string{http.MethodGet, http.MethodPut, http.MethodDelete},
		MakeParent: s.impliedContainer,
		SortKey:    func(r *arm.Resource) string { return newestFirst(r.Created) },
		Validate: func(ctx context.Context, p *arm.Put) error {
			props := p.Resource.Body.Object("properties")
			if props == nil {
				return userError("properties", "The asset has no properties.")
			}
			for _, name := range a.required {
				if v := props.Get(name); v == nil || v == "" {
					return userError(path(name), "The required property '%s' is missing.", name)
				}
			}
			if a.plural == "environments" {
				if err := s.checkEnvironment(p, props); err != nil {
					return err
				}
			}
			if p.Existing != nil {
				if a.path != "" && !within(props.Get(a.path), p.Existing.Body.Get(path(a.path))) {
					// azure-ai-ml looks for this very text
					return userError(path(a.path), "Asset paths cannot be updated.")
				}
				for _, name := range a.immutable {
					if v := props.Get(name); v != nil && !within(v, p.Existing.Body.Get(path(name))) {
						return userError(path(name), "'%s' of an asset version cannot be changed; make another version.", name)
					}
					p.Force(path(name))
				}
			}
			return checkTexts(props)
		},
		Put: func(ctx context.Context, p *arm.Put) error {
			props := p.Resource.Body.Object("properties")
			props.Default("isAnonymous", false)
			props.Default("isArchived", false)
			switch a.plural {
			case "environments":
				props.Default("osType", "Linux")
				props.Set("environmentType", "UserCreated")
			case "models":
				props.Default("flavors", map[string]any{}) // azure-ai-ml reads it without a check
			}
			if p.Existing != nil {
				return nil
			}
			return s.addVersion(p, a)
		},
		Delete: func(ctx context.Context, d *arm.Delete) error {
			if d.Cascade {
				return nil
			}
			return s.dropVersion(d)
		},
		List: s.listAssets(a.plural + "/versions"),
	}
	if a.plural == "environments" {
		t.Default = func(_ context.Context, _ store.Tx, id arm.ID) (*arm.Resource, error) {
			if curated(id.Parent().Name()) {
				return curatedVersion(id), nil
			}
			return nil, nil
		}
	}
	return t
}

// addVersion brings the container of a new version up to date.
func (s *Service) addVersion(p *arm.Put, a asset) error {
	version := p.ID.Name()
	return s.kernel.Resources().Update(p.Tx, p.ID.Parent().Key(), func(r *arm.Resource) error {
		props := r.Body.Object("properties")
		if r.CreatedBy.Name == "" { // implied a moment ago
			r.CreatedBy, r.ModifiedBy = p.Resource.CreatedBy, p.Resource.CreatedBy
		}
		if p.Resource.Body.Bool("properties.isAnonymous", false) && !props.Has("latestVersion") {
			props.Set("isAnonymous", true) // hides the container from lists
		} else if !p.Resource.Body.Bool("properties.isAnonymous", false) {
			props.Delete("isAnonymous")
		}
		if a.fixed != "" {
			v := p.Resource.Body.Get("properties." + a.fixed)
			if have := props.Get(a.fixed); have != nil && have != v {
				return userError("properties."+a.fixed, "The asset '%s' is of %s '%v'; its versions cannot be of another.", p.ID.Parent().Name(), a.fixed, have)
			}
			props.Set(a.fixed, v)
		}
		props.Set("latestVersion", version)
		next, _ := strconv.ParseInt(props.String("nextVersion"), 10, 64)
		if n, err := strconv.ParseInt(version, 10, 64); err == nil && n >= next {
			next = n + 1
		}
		props.Set("nextVersion", strconv.FormatInt(max(next, 1), 10))
		return nil
	})
}

func (s *Service) dropVersion(d *arm.Delete) error { return s.forgetVersion(d.Tx, d.Resource) }

// forgetVersion brings the container of a version that goes up to date.
func (s *Service) forgetVersion(tx store.Tx, version *arm.Resource) error {
	id := version.ParsedID()
	newest := ""
	for r, err := range s.kernel.Resources().Children(tx, id.Parent(), id.Type()) {
		if err != nil {
			return err
		}
		if r.UID != version.UID {
			newest = r.Name()
			break // newest first
		}
	}
	err := s.kernel.Resources().Update(tx, id.Parent().Key(), func(r *arm.Resource) error {
		if newest == "" {
			r.Body.Delete("properties.latestVersion")
		} else {
			r.Body.Set("properties.latestVersion", newest)
		}
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// uploadLife is how long the address that startPendingUpload gives is good.
// Azure's own is not documented.
const uploadLife = 24 * 60 * 60

// pendingUpload is POST …/startPendingUpload, which comes before the version
// that it is for is there: so it is an operation of the provider.
func (s *Service) pendingUpload(a asset) arm.Action {
	return arm.Action{
		Name: "workspaces/{}/" + a.plural + "/{}/versions/{}/startPendingUpload",
		Handle: func(ctx context.Context, req *arm.Request) (*arm.Response, error) {
			id := req.ID.Child(typeWorkspace, req.Args[0]).Child(a.plural, req.Args[1]).Child("versions", req.Args[2])
			// The action that Azure asks for is not known; who may write the version
			// may upload it.
			if err := s.kernel.Authorize(ctx, req, typeWorkspace+"/"+a.plural+"/versions/write", id); err != nil {
				return nil, err
			}
			if t := req.Body.String("pendingUploadType"); t != "" && !strings.EqualFold(t, "TemporaryBlobReference") {
				return nil, arm.NotImplemented("pending uploads of type '%s'", t)
			}
			var ws *workspace
			err := s.cfg.Store.View(ctx, func(tx store.Tx) (err error) {
				ws, err = s.workspace(ctx, tx, id)
				return err
			})
			if err != nil {
				return nil, err
			}
			upload := req.Body.String("pendingUploadId")
			if upload == "" {
				upload = uuid.NewString()
			}
			// a container of its own, so that the address opens nothing else
			container := strings.ToLower(upload)
			if _, err := uuid.Parse(container); err != nil {
				return nil, userError("pendingUploadId", "The pendingUploadId '%s' is not a GUID.", upload)
			}
			if err := s.cfg.Blobs.EnsureContainer(ctx, ws.Account, container); err != nil {
				return nil, fmt.Errorf("make container for an upload: %w", err)
			}
			sas, err := s.sign(ctx, ws.Account, container, "", "rwl", uploadLife)
			if err != nil {
				return nil, err
			}
			blobURI := "https://" + ws.Account + ".blob.core.windows.net/" + container
			return arm.OK(map[string]any{
				"pendingUploadId": upload, "pendingUploadType": "TemporaryBlobReference",
				"blobReferenceForConsumption": map[string]any{
					"blobUri": blobURI, "storageAccountArmId": ws.AccountID,
					"credential": map[string]any{"credentialType": "SAS", "sasUri": blobURI + "?" + sas},
				},
			}), nil
		},
	}
}
