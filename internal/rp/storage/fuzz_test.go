package storage

import (
	"encoding/json"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/arm"
)

// FuzzLifecycleRules reads policies that anyone may send: each is refused or has
// rules that say what they do.
func FuzzLifecycleRules(f *testing.F) {
	f.Add([]byte(`{"rules":[{"name":"a","type":"Lifecycle","definition":{"filters":{"blobTypes":["blockBlob"],"prefixMatch":["c/p"]},"actions":{"baseBlob":{"delete":{"daysAfterModificationGreaterThan":1}}}}}]}`))
	f.Add([]byte(`{"rules":[{"name":"a","type":"Lifecycle","enabled":false,"definition":{"filters":{"blobTypes":["appendBlob"],"blobIndexMatch":[{"name":"k","op":"==","value":"v"}]},"actions":{"version":{"tierToCool":{"daysAfterCreationGreaterThan":0.5}}}}}]}`))
	f.Add([]byte(`{"rules":[null,1,{"definition":{"filters":[],"actions":{"snapshot":[]}}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var policy map[string]any
		if json.Unmarshal(b, &policy) != nil {
			return
		}
		rules, err := lifecycleRules(arm.Doc{"properties": map[string]any{"policy": policy}})
		if err != nil {
			return
		}
		for _, r := range rules {
			if len(r.BlobTypes) == 0 || r.Base == (LifecycleActions{}) && r.Snapshot == (LifecycleActions{}) && r.Version == (LifecycleActions{}) {
				t.Errorf("%s: %+v", b, r)
			}
		}
	})
}
