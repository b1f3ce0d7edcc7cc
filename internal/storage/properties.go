package storage

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// bucketServices holds <account uid>/<service> → ServiceProperties. Its name is
// of when the Blob service kept those of all.
const bucketServices = "blob.service"

// ServiceProperties are the configuration of one service of an account. Logging
// and metrics are kept and returned; nothing here acts on them.
type ServiceProperties struct {
	XMLName               xml.Name         `xml:"StorageServiceProperties" json:"-"`
	Logging               *loggingSettings `json:",omitempty"`
	HourMetrics           *metricsSettings `json:",omitempty"`
	MinuteMetrics         *metricsSettings `json:",omitempty"`
	Cors                  *corsSettings    `json:",omitempty"`
	DefaultServiceVersion string           `xml:",omitempty" json:",omitempty"`
	DeleteRetentionPolicy *DeleteRetention `json:",omitempty"`
	StaticWebsite         *StaticWebsite   `json:",omitempty"`
	Unknown               []unknownNode    `xml:",any" json:"-"`
}

type unknownNode struct{ XMLName xml.Name }

type retention struct {
	Enabled bool
	Days    int `xml:",omitempty" json:",omitempty"`
}

type loggingSettings struct {
	Version             string
	Delete, Read, Write bool
	RetentionPolicy     retention
}

type metricsSettings struct {
	Version         string
	Enabled         bool
	IncludeAPIs     *bool `xml:",omitempty" json:",omitempty"`
	RetentionPolicy retention
}

type corsSettings struct {
	CorsRule []corsRule
}

type corsRule struct {
	AllowedOrigins, AllowedMethods string
	MaxAgeInSeconds                int
	ExposedHeaders, AllowedHeaders string
}

// DeleteRetention is how long what is deleted is kept.
type DeleteRetention struct {
	AllowPermanentDelete *bool `xml:",omitempty" json:",omitempty"`
	Enabled              bool
	Days                 int `xml:",omitempty" json:",omitempty"`
}

// StaticWebsite is a website of the container $web.
type StaticWebsite struct {
	Enabled                  bool
	IndexDocument            string `xml:",omitempty" json:",omitempty"`
	ErrorDocument404Path     string `xml:",omitempty" json:",omitempty"`
	DefaultIndexDocumentPath string `xml:",omitempty" json:",omitempty"`
}

// DefaultProperties are those of a service that nobody configured.
func DefaultProperties(service string) *ServiceProperties {
	off := metricsSettings{Version: "1.0"}
	p := &ServiceProperties{HourMetrics: &off, MinuteMetrics: &off, Cors: &corsSettings{}}
	if service != "file" {
		p.Logging = &loggingSettings{Version: "1.0"}
	}
	if service == "blob" {
		p.DeleteRetentionPolicy = &DeleteRetention{}
		p.StaticWebsite = &StaticWebsite{}
	}
	return p
}

// Merge takes over the elements that n has: Set leaves the others as they are.
func (p *ServiceProperties) Merge(n *ServiceProperties) {
	if n.Logging != nil {
		p.Logging = n.Logging
	}
	if n.HourMetrics != nil {
		p.HourMetrics = n.HourMetrics
	}
	if n.MinuteMetrics != nil {
		p.MinuteMetrics = n.MinuteMetrics
	}
	if n.Cors != nil {
		p.Cors = n.Cors
	}
	if n.DefaultServiceVersion != "" {
		p.DefaultServiceVersion = n.DefaultServiceVersion
	}
	if n.DeleteRetentionPolicy != nil {
		p.DeleteRetentionPolicy = n.DeleteRetentionPolicy
	}
	if n.StaticWebsite != nil {
		p.StaticWebsite = n.StaticWebsite
	}
}

// Check refuses what is wrong or would promise what is not done.
func (p *ServiceProperties) Check(service string) error {
	if len(p.Unknown) > 0 {
		return Refuse("UnsupportedXmlNode").With("XmlNodeName", p.Unknown[0].XMLName.Local)
	}
	if d := p.DeleteRetentionPolicy; d != nil {
		if d.AllowPermanentDelete != nil && *d.AllowPermanentDelete {
			return NotImplemented("the permanent deletion of what soft delete keeps")
		}
		if d.Enabled && (d.Days < 1 || d.Days > 365) {
			return Refuse("InvalidXmlNodeValue").With("XmlNodeName", "Days").With("XmlNodeValue", strconv.Itoa(d.Days))
		}
	}
	if service != "blob" && (p.StaticWebsite != nil || p.DeleteRetentionPolicy != nil || p.DefaultServiceVersion != "") {
		return Refuse("UnsupportedXmlNode")
	}
	var rs []retention
	if p.Logging != nil {
		rs = append(rs, p.Logging.RetentionPolicy)
	}
	for _, m := range []*metricsSettings{p.HourMetrics, p.MinuteMetrics} {
		if m != nil {
			rs = append(rs, m.RetentionPolicy)
		}
	}
	for _, r := range rs {
		if r.Enabled && (r.Days < 1 || r.Days > 365) {
			return Refuse("InvalidXmlNodeValue").With("XmlNodeName", "Days").With("XmlNodeValue", strconv.Itoa(r.Days))
		}
	}
	if err := p.Cors.check(); err != nil {
		return err
	}
	if v := p.DefaultServiceVersion; v != "" && !IsVersion(v) {
		return Refuse("InvalidXmlNodeValue").With("XmlNodeName", "DefaultServiceVersion").With("XmlNodeValue", v)
	}
	return nil
}

// LoadProperties returns what was set of a service, nil if nothing was.
func LoadProperties(tx store.Tx, uid, service string) (*ServiceProperties, error) {
	key := uid + "/" + service
	b, err := tx.Get(bucketServices, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := new(ServiceProperties)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("decode properties of %s: %w", key, err)
	}
	return p, nil
}

// SaveProperties keeps what was set of a service.
func SaveProperties(tx store.Tx, uid, service string, p *ServiceProperties) error {
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode %s service properties: %w", service, err)
	}
	return tx.Put(bucketServices, uid+"/"+service, b)
}

// WriteProperties answers with p.
func WriteProperties(w http.ResponseWriter, p *ServiceProperties) (*XML, error) {
	body, err := xml.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode service properties: %w", err)
	}
	x := StartXML(w, http.StatusOK)
	x.Raw(string(body))
	return x, nil
}

// Forget removes what this package keeps of an account instance that is no more.
func Forget(tx store.Tx, uid string) error {
	var keys []string
	for row, err := range tx.Scan(bucketServices, store.Range{Prefix: uid + "/"}) {
		if err != nil {
			return err
		}
		keys = append(keys, row.Key)
	}
	for _, k := range keys {
		if err := tx.Delete(bucketServices, k); err != nil {
			return err
		}
	}
	return tx.Delete(bucketSecrets, uid)
}
