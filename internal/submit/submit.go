// Package submit turns a job file into a job in a workspace: it uploads what is
// local, registers the anonymous code and environment, and puts the job, with
// the same calls as Azure ML's own clients.
package submit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/client"
	"github.com/azimuth-ml/azimuth/internal/jobspec"
)

// APIVersion is the api-version of every call.
const APIVersion = "2024-04-01"

// Submitter submits jobs to one workspace.
type Submitter struct {
	// Client speaks to the cloud.
	Client *client.Client
	// Workspace is the workspace's ARM ID.
	Workspace string
	// Now is the cloud's time, which may run ahead of this machine's.
	Now func(ctx context.Context) (time.Time, error)
	// Progress is told what is being done; nil for nobody.
	Progress func(format string, args ...any)
}

// Submit uploads what job needs and creates it. The job gets a name if it has
// none. A problem with something that the file names is a *jobspec.Problem.
func (s *Submitter) Submit(ctx context.Context, job *jobspec.Job) (arm.Doc, error) {
	if job.Name == "" {
		name, err := randomName()
		if err != nil {
			return nil, err
		}
		job.Name = name
	}
	body, err := job.ToREST(ctx, s)
	if err != nil {
		return nil, err
	}
	var out arm.Doc
	err = s.Client.Do(ctx, http.MethodPut, s.Workspace+"/jobs/"+url.PathEscape(job.Name), APIVersion, body, &out)
	if err != nil {
		return nil, fmt.Errorf("create job %s: %w", job.Name, err)
	}
	return out, nil
}

func (s *Submitter) progress(format string, args ...any) {
	if s.Progress != nil {
		s.Progress(format, args...)
	}
}

// CodeID implements jobspec.Resolver.
func (s *Submitter) CodeID(ctx context.Context, c jobspec.Code) (string, error) {
	switch {
	case c.Asset != nil:
		return s.assetID(ctx, "codes", c.Asset)
	case c.URL != "":
		return "", fmt.Errorf("code from %s is not implemented by Azimuth: give a local directory", c.URL)
	}
	files, err := jobspec.Snapshot(ctx, c.Local)
	if err != nil {
		return "", err
	}
	hash, err := jobspec.Hash(ctx, files)
	if err != nil {
		return "", err
	}
	// the same content is the same code version, whoever submits it
	version := s.Workspace + "/codes/" + uuid.NewSHA1(uuid.NameSpaceOID, []byte(hash)).String() + "/versions/1"
	var have arm.Doc
	err = s.Client.Do(ctx, http.MethodGet, version, APIVersion, nil, &have)
	if err == nil {
		return have.String("id"), nil
	}
	if !client.IsNotFound(err) {
		return "", err
	}
	s.progress("uploading %s (%d files)", filepath.Base(c.Local), len(files))
	var pending arm.Doc
	err = s.Client.Do(ctx, http.MethodPost, version+"/startPendingUpload", APIVersion, map[string]any{"pendingUploadType": "TemporaryBlobReference"}, &pending)
	if err != nil {
		return "", fmt.Errorf("start upload: %w", err)
	}
	dir := folderName(c.Local)
	if err := s.upload(ctx, pending.String("blobReferenceForConsumption.credential.sasUri"), dir, files); err != nil {
		return "", err
	}
	codeURI, err := client.WithPath(pending.String("blobReferenceForConsumption.blobUri"), dir)
	if err != nil {
		return "", err
	}
	err = s.Client.Do(ctx, http.MethodPut, version, APIVersion, map[string]any{"properties": map[string]any{
		"codeUri": codeURI, "isAnonymous": true,
		"properties": map[string]any{"hash_sha256": hash, "hash_version": "202208"},
	}}, &have)
	if err != nil {
		return "", fmt.Errorf("register code: %w", err)
	}
	return have.String("id"), nil
}

// folderName is the directory's own name, or that of the file's directory.
func folderName(path string) string {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		path = filepath.Dir(path)
	}
	name := filepath.Base(path)
	if name == "." || name == string(filepath.Separator) || name == "" {
		return "code"
	}
	return name
}

// uploads is how many files are sent at once.
const uploads = 8

func (s *Submitter) upload(ctx context.Context, sas, dir string, files []jobspec.SnapshotFile) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(uploads)
	for _, f := range files {
		g.Go(func() error {
			target, err := client.WithPath(sas, dir+"/"+f.Name)
			if err != nil {
				return err
			}
			file, err := os.Open(f.Path)
			if err != nil {
				return fmt.Errorf("upload %s: %w", f.Name, err)
			}
			defer file.Close()
			if err := s.Client.PutBlob(ctx, target, file, f.Size); err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// EnvironmentID implements jobspec.Resolver.
func (s *Submitter) EnvironmentID(ctx context.Context, e jobspec.Environment) (string, error) {
	if e.Asset != nil {
		return s.assetID(ctx, "environments", e.Asset)
	}
	at := ""
	if e.BuildLocal != "" {
		var err error
		if at, err = s.uploadFolder(ctx, e.BuildLocal); err != nil {
			return "", err
		}
	}
	props := e.ToREST(at)
	props["isAnonymous"] = true
	b, err := json.Marshal(props)
	if err != nil {
		return "", fmt.Errorf("register environment: %w", err)
	}
	sum := sha256.Sum256(b)
	// the name is the one that Azure ML's clients give to what has none
	path := s.Workspace + "/environments/CliV2AnonymousEnvironment/versions/" + hex.EncodeToString(sum[:16])
	var out arm.Doc
	if err := s.Client.Do(ctx, http.MethodPut, path, APIVersion, map[string]any{"properties": props}, &out); err != nil {
		return "", fmt.Errorf("register environment: %w", err)
	}
	return out.String("id"), nil
}

// ComponentID implements jobspec.Resolver.
func (s *Submitter) ComponentID(ctx context.Context, ref *jobspec.AssetRef, spec map[string]any) (string, error) {
	if ref != nil {
		return s.assetID(ctx, "components", ref)
	}
	b, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("register component: %w", err)
	}
	sum := sha256.Sum256(b)
	// name and version as Azure ML's clients give them to what has none
	id, err := uuid.FromBytes(sum[:16])
	if err != nil {
		return "", fmt.Errorf("register component: %w", err)
	}
	path := s.Workspace + "/components/azureml_anonymous/versions/" + id.String()
	var out arm.Doc
	err = s.Client.Do(ctx, http.MethodPut, path, APIVersion, map[string]any{"properties": map[string]any{"componentSpec": spec, "isAnonymous": true}}, &out)
	if err != nil {
		return "", fmt.Errorf("register component: %w", err)
	}
	return out.String("id"), nil
}

// assetID is the ARM ID of an asset version, with labels resolved.
func (s *Submitter) assetID(ctx context.Context, collection string, ref *jobspec.AssetRef) (string, error) {
	if ref.ARMID != "" {
		return ref.ARMID, nil
	}
	if ref.Registry != "" {
		return ref.String(), nil // the service knows which registries there are
	}
	path := s.Workspace + "/" + collection + "/" + url.PathEscape(ref.Name)
	version := ref.Version
	if version == "" {
		if !strings.EqualFold(ref.Label, "latest") {
			return "", fmt.Errorf("label %q of %s is not implemented by Azimuth: give a version, or @latest", ref.Label, ref.Name)
		}
		var c arm.Doc
		if err := s.Client.Do(ctx, http.MethodGet, path, APIVersion, nil, &c); err != nil {
			return "", err
		}
		if version = c.String("properties.latestVersion"); version == "" {
			return "", fmt.Errorf("%s has no version yet", ref.Name)
		}
	}
	var out arm.Doc
	if err := s.Client.Do(ctx, http.MethodGet, path+"/versions/"+url.PathEscape(version), APIVersion, nil, &out); err != nil {
		return "", err
	}
	return out.String("id"), nil
}

// ComputeID implements jobspec.Resolver.
func (s *Submitter) ComputeID(ctx context.Context, c jobspec.Compute) (string, error) {
	if c.ARMID != "" {
		return c.ARMID, nil
	}
	var out arm.Doc
	err := s.Client.Do(ctx, http.MethodGet, s.Workspace+"/computes/"+url.PathEscape(c.Name), APIVersion, nil, &out)
	if client.IsNotFound(err) {
		var names []string
		for c, err := range client.List[arm.Doc](ctx, s.Client, s.Workspace+"/computes", APIVersion) {
			if err != nil {
				return "", err
			}
			names = append(names, c.String("name"))
		}
		if len(names) == 0 {
			return "", fmt.Errorf("there is no compute %q: the workspace has none", c.Name)
		}
		return "", fmt.Errorf("there is no compute %q: the workspace has %s", c.Name, strings.Join(names, ", "))
	}
	if err != nil {
		return "", err
	}
	return out.String("id"), nil
}

// InputURI implements jobspec.Resolver.
func (s *Submitter) InputURI(ctx context.Context, name string, in jobspec.Input) (string, error) {
	switch {
	case in.URI != "":
		return in.URI, nil
	case in.Asset != nil:
		collection := "data"
		if strings.HasSuffix(in.Type, "_model") {
			collection = "models"
		}
		return s.assetID(ctx, collection, in.Asset)
	}
	return s.uploadLocal(ctx, "input "+name, in.Local, in.Datastore)
}

// randomName is a job name as Azure ML's clients make them.
func randomName() (string, error) {
	pick := func(list []string) (string, error) {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(list))))
		if err != nil {
			return "", fmt.Errorf("make a job name: %w", err)
		}
		return list[n.Int64()], nil
	}
	a, err := pick(strings.Fields("amber brave calm clever coral eager gentle green happy jolly keen lemon lucid mellow neat olive plum quiet rosy sharp silver steady sunny teal upbeat vivid warm witty"))
	if err != nil {
		return "", err
	}
	b, err := pick(strings.Fields("anchor apple bear bell bird boat bridge brook cloud compass deer dune fern field fox garden hill island kite lake leaf maple moon night owl pear pine quill river sail star stone tree wave wolf"))
	if err != nil {
		return "", err
	}
	return a + "_" + b + "_" + strings.ToLower(rand.Text()[:10]), nil
}
