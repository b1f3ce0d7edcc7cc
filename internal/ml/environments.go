package ml

import (
	"context"
	_ "embed"
	"errors"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// curatedNames is the curated environments of Azure ML that its examples and
// documentation use, one per line, without the prefix AzureML-. The versions
// that Azure has of them are not known, so any is accepted.
//
//go:embed curated.txt
var curatedNames string

const curatedPrefix = "azureml-"

// curated reports whether name, AzureML-…, is that of a curated environment.
func curated(name string) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(name), curatedPrefix)
	if !ok {
		return false
	}
	for line := range strings.Lines(curatedNames) {
		if strings.EqualFold(strings.TrimSpace(line), rest) && rest != "" {
			return true
		}
	}
	return false
}

// curatedSince stands for the time at which a curated environment was made,
// which is not known.
func curatedSince() time.Time { return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) }

const curatedText = "A curated environment of Azure Machine Learning. Unless the server runs jobs in containers, its image is not run: the command runs with what this machine has, and the job's log says so."

func curatedContainer(id arm.ID) *arm.Resource {
	return &arm.Resource{
		ID: id.String(), UID: id.Key(), Created: curatedSince(), Modified: curatedSince(), Private: arm.Doc{},
		CreatedBy: arm.Author{Name: "Microsoft", Type: "Application"}, ModifiedBy: arm.Author{Name: "Microsoft", Type: "Application"},
		Body: arm.Doc{"properties": map[string]any{
			"description": curatedText, "isArchived": false, "latestVersion": "1", "nextVersion": "2", "tags": map[string]any{}, "properties": map[string]any{},
		}},
	}
}

func curatedVersion(id arm.ID) *arm.Resource {
	r := curatedContainer(id)
	name := strings.ToLower(id.Parent().Name())
	r.Body = arm.Doc{"properties": map[string]any{
		"description": curatedText, "environmentType": "Curated", "image": "mcr.microsoft.com/azureml/curated/" + strings.TrimPrefix(name, curatedPrefix) + ":" + id.Name(),
		"osType": "Linux", "isAnonymous": false, "isArchived": false, "tags": map[string]any{}, "properties": map[string]any{},
	}}
	return r
}

var registryEnvironment = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^azureml://registries/([^/]+)/environments/([^/]+)/(?:versions|labels)/([^/]+)$`)
})

var labelled = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^(/subscriptions/.+/environments/[^/]+)/labels/latest$`)
})

// shortEnvironment is azureml:NAME:VERSION or azureml:NAME@LABEL, which azure-ai-ml
// sends for curated environments.
var shortEnvironment = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^azureml:([^/:@]+)(?::([^/:@]+)|@(latest))$`)
})

// environmentOf finds the environment version that a job names: its ARM ID, a
// label's, a name and version, or one of the registry azureml. Errors are
// *arm.Error.
func (s *Service) environmentOf(ctx context.Context, tx store.Tx, parent *arm.Resource, ref string) (*arm.Resource, error) {
	const target = "properties.environmentId"
	ws := parent.ParsedID()
	if m := registryEnvironment().FindStringSubmatch(ref); m != nil {
		if !strings.EqualFold(m[1], "azureml") {
			return nil, arm.NotImplemented("environments of the registry '%s'", m[1])
		}
		name := m[2]
		if !strings.HasPrefix(strings.ToLower(name), curatedPrefix) {
			name = "AzureML-" + name
		}
		if !curated(name) {
			return nil, userError(target, "The environment '%s' of the registry azureml is not known to Azimuth.", m[2])
		}
		return curatedVersion(ws.Child("environments", name).Child("versions", m[3])), nil
	}
	id := ref
	if m := shortEnvironment().FindStringSubmatch(ref); m != nil {
		ref = ws.Child("environments", m[1]).String() + "/labels/latest"
		if m[2] != "" {
			ref = ws.Child("environments", m[1]).Child("versions", m[2]).String()
		}
		id = ref
	}
	if m := labelled().FindStringSubmatch(ref); m != nil {
		c, err := arm.ParseID(m[1])
		if err != nil {
			return nil, userError(target, "'%s' is not the resource ID of an environment version.", ref)
		}
		r, err := s.kernel.Load(ctx, tx, c)
		if err != nil {
			return nil, missingEnvironment(err, ref)
		}
		version := r.Body.String("properties.latestVersion")
		if version == "" {
			return nil, userError(target, "The environment '%s' was not found.", c.Name())
		}
		id = m[1] + "/versions/" + version
	}
	parsed, err := arm.ParseID(id)
	if err != nil || !strings.EqualFold(parsed.Type(), typeWorkspace+"/environments/versions") {
		return nil, userError(target, "'%s' is not the resource ID of an environment version.", ref)
	}
	if !strings.HasPrefix(parsed.Key(), ws.Key()+"/") {
		return nil, userError(target, "'%s' is not in the job's workspace.", ref)
	}
	// parents are asked for first, so that a version is not looked for in vain
	if there, err := s.kernel.Resources().Exists(tx, parsed.Key()); err != nil {
		return nil, err
	} else if !there && !curated(parsed.Parent().Name()) {
		return nil, userError(target, "The environment version '%s' was not found.", parsed.FullName())
	}
	r, err := s.kernel.Load(ctx, tx, parsed)
	if err != nil {
		return nil, missingEnvironment(err, ref)
	}
	return r, nil
}

func missingEnvironment(err error, ref string) error {
	var e *arm.Error
	if errors.As(err, &e) {
		return userError("properties.environmentId", "The environment '%s' was not found.", ref)
	}
	return err
}

// checkEnvironment checks an environment version's body.
func (s *Service) checkEnvironment(p *arm.Put, props arm.Doc) error {
	if strings.HasPrefix(strings.ToLower(p.ID.Parent().Name()), curatedPrefix) {
		return userError("name", "The name '%s' is reserved: names that begin with AzureML- are those of curated environments.", p.ID.Parent().Name())
	}
	image, build := props.String("image"), props.Object("build")
	switch {
	case image != "" && build != nil:
		return userError("properties.image", "An environment has an image or a build context, not both.")
	case image == "" && build == nil:
		return userError("properties.image", "An environment needs an image or a build context.")
	case build != nil && build.String("contextUri") == "":
		return userError("properties.build.contextUri", "The required property 'contextUri' is missing.")
	}
	if os := props.String("osType"); os != "" && !strings.EqualFold(os, "Linux") {
		return arm.NotImplemented("environments of the operating system '%s'", os)
	}
	return nil
}
