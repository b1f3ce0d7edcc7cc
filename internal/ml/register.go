package ml

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// register makes asset versions of the outputs that asked for it.
func (s *Service) register(ctx context.Context, x *execution) error {
	for _, name := range slices.Sorted(maps.Keys(x.spec.Outputs)) {
		out := x.spec.Outputs[name]
		if out.Name == "" {
			continue
		}
		if err := s.cfg.Store.Update(ctx, func(tx store.Tx) error { return s.registerOutput(tx, x, out) }); err != nil {
			return fmt.Errorf("register output %s as %s: %w", name, out.Name, err)
		}
	}
	return nil
}

// registerOutput makes the version, unless an interrupted call did already.
func (s *Service) registerOutput(tx store.Tx, x *execution, out jobOutput) error {
	plural, typeName, pathName := "data", "dataType", "dataUri"
	if strings.HasSuffix(out.Type, "_model") {
		plural, typeName, pathName = "models", "modelType", "modelUri"
	}
	if !assetName().MatchString(out.Name) || out.Version != "" && !assetName().MatchString(out.Version) {
		return userError("properties.outputs", "The name or version of the asset '%s' is invalid.", out.Name)
	}
	res, now := s.kernel.Resources(), s.cfg.Clock.Now()
	id := x.ws.id.Child(plural, out.Name)
	container, err := res.Get(tx, id.Key())
	if errors.Is(err, store.ErrNotFound) {
		container = &arm.Resource{
			ID: id.String(), UID: uuid.NewString(), ETag: uuid.NewString(), Created: now, Modified: now,
			CreatedBy: x.job.CreatedBy, ModifiedBy: x.job.CreatedBy,
			Body: arm.Doc{"properties": map[string]any{"isArchived": false, "tags": map[string]any{}, "properties": map[string]any{}}},
		}
		if plural == "data" {
			container.Body.Set("properties.dataType", out.Type)
		}
	} else if err != nil {
		return err
	}
	props := container.Body.Object("properties")
	if have := props.String("dataType"); plural == "data" && have != "" && have != out.Type {
		return userError("properties.outputs", "The data asset '%s' is of type '%s', not '%s'.", out.Name, have, out.Type)
	}
	for v, err := range res.Children(tx, id, typeWorkspace+"/"+plural+"/versions") {
		if err != nil {
			return err
		}
		if v.Body.String("properties."+pathName) == out.URI && v.Body.String("properties.jobName") == x.run.Name {
			return nil
		}
		if out.Version == "" {
			break // newest first: what was made by this job is on top
		}
		if v.Name() == out.Version {
			return userError("properties.outputs", "The version '%s' of '%s' exists already.", out.Version, out.Name)
		}
	}
	version := out.Version
	next, err := strconv.ParseInt(props.String("nextVersion"), 10, 64)
	if err != nil {
		next = 1
	}
	if version == "" {
		version = strconv.FormatInt(next, 10)
	}
	if n, err := strconv.ParseInt(version, 10, 64); err == nil && n >= next {
		next = n + 1
	}
	props.Set("latestVersion", version)
	props.Set("nextVersion", strconv.FormatInt(next, 10))
	if err := res.Put(tx, container); err != nil {
		return err
	}
	return res.Put(tx, &arm.Resource{
		ID: id.Child("versions", version).String(), UID: uuid.NewString(), ETag: uuid.NewString(), Created: now, Modified: now,
		CreatedBy: x.job.CreatedBy, ModifiedBy: x.job.CreatedBy,
		Body: arm.Doc{"properties": map[string]any{
			typeName: out.Type, pathName: out.URI, "jobName": x.run.Name, "isAnonymous": false, "isArchived": false,
			"tags": map[string]any{}, "properties": map[string]any{},
		}},
	})
}
