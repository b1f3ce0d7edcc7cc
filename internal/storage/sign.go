package storage

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// SASVersion is the service version of the SAS that this package signs.
const SASVersion = "2022-11-02"

// SASTimeForm is the form of the times in a SAS.
const SASTimeForm = "2006-01-02T15:04:05Z"

// ServiceSAS describes a service SAS for a container or blob.
type ServiceSAS struct {
	Container string
	// Blob is the blob's name; "" makes the SAS one for the whole container.
	Blob string
	// Permissions are Azure's letters in Azure's order, for example "rcwl".
	Permissions string
	// Start may be zero. Times have a resolution of a second.
	Start, Expiry time.Time
	// HTTPSOnly refuses plain HTTP.
	HTTPSOnly bool
	// Policy names a stored access policy that gives what is left out here.
	Policy string
	// ContentType and ContentDisposition override those of the blob.
	ContentType, ContentDisposition string
}

// SignServiceSAS signs v with the account's first key and returns the query
// string, without a question mark.
func SignServiceSAS(a *Account, v ServiceSAS) (string, error) {
	if len(a.Keys[0]) == 0 {
		return "", fmt.Errorf("sign service SAS: storage account %s has no key", a.Name)
	}
	if v.Container == "" || (v.Policy == "" && (v.Permissions == "" || v.Expiry.IsZero())) {
		return "", fmt.Errorf("sign service SAS: container, and permissions and expiry or policy, are needed")
	}
	t := &SAS{sv: SASVersion, sr: "c", sp: v.Permissions, st: sasTime(v.Start), se: sasTime(v.Expiry),
		spr: sasProtocol(v.HTTPSOnly), si: v.Policy, rsct: v.ContentType, rscd: v.ContentDisposition}
	if v.Blob != "" {
		t.sr = "b"
	}
	resource, _ := t.BlobResource(a.Name, v.Container, strings.ReplaceAll(v.Blob, `\`, "/"))
	t.sig = Sign(a.Keys[0], t.ServiceText("blob", resource))
	return t.encode(), nil
}

// AccountSAS describes an account SAS.
type AccountSAS struct {
	// Services are letters of b, q, t and f; ResourceTypes of s, c and o.
	Services, ResourceTypes string
	// Permissions are Azure's letters in Azure's order, for example "rwdlac".
	Permissions string
	// Start may be zero. Times have a resolution of a second.
	Start, Expiry time.Time
	// HTTPSOnly refuses plain HTTP.
	HTTPSOnly bool
}

// SignAccountSAS signs v with the account's first key and returns the query
// string, without a question mark.
func SignAccountSAS(a *Account, v AccountSAS) (string, error) {
	if len(a.Keys[0]) == 0 {
		return "", fmt.Errorf("sign account SAS: storage account %s has no key", a.Name)
	}
	if v.Services == "" || v.ResourceTypes == "" || v.Permissions == "" || v.Expiry.IsZero() {
		return "", fmt.Errorf("sign account SAS: services, resource types, permissions and expiry are needed")
	}
	t := &SAS{sv: SASVersion, ss: v.Services, srt: v.ResourceTypes, sp: v.Permissions,
		st: sasTime(v.Start), se: sasTime(v.Expiry), spr: sasProtocol(v.HTTPSOnly)}
	t.sig = Sign(a.Keys[0], t.AccountText(a.Name))
	return t.encode(), nil
}

func sasTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(SASTimeForm)
}

func sasProtocol(httpsOnly bool) string {
	if httpsOnly {
		return "https"
	}
	return ""
}

// encode writes the parameters that SignServiceSAS and SignAccountSAS use.
func (t *SAS) encode() string {
	q := url.Values{}
	for k, v := range map[string]string{
		"sv": t.sv, "ss": t.ss, "srt": t.srt, "sr": t.sr, "sp": t.sp, "st": t.st, "se": t.se,
		"spr": t.spr, "si": t.si, "rsct": t.rsct, "rscd": t.rscd, "sig": t.sig,
	} {
		if v != "" {
			q.Set(k, v)
		}
	}
	return q.Encode()
}
