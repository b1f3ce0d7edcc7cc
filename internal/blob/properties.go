package blob

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// serviceProperties are the configuration of one service of an account. Logging,
// metrics and CORS are kept and returned; nothing here acts on them.
type serviceProperties struct {
	XMLName               xml.Name         `xml:"StorageServiceProperties" json:"-"`
	Logging               *loggingSettings `json:",omitempty"`
	HourMetrics           *metricsSettings `json:",omitempty"`
	MinuteMetrics         *metricsSettings `json:",omitempty"`
	Cors                  *corsSettings    `json:",omitempty"`
	DefaultServiceVersion string           `xml:",omitempty" json:",omitempty"`
	DeleteRetentionPolicy *deleteRetention `json:",omitempty"`
	StaticWebsite         *staticWebsite   `json:",omitempty"`
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

type deleteRetention struct {
	AllowPermanentDelete *bool `xml:",omitempty" json:",omitempty"`
	Enabled              bool
	Days                 int `xml:",omitempty" json:",omitempty"`
}

type staticWebsite struct {
	Enabled                  bool
	IndexDocument            string `xml:",omitempty" json:",omitempty"`
	ErrorDocument404Path     string `xml:",omitempty" json:",omitempty"`
	DefaultIndexDocumentPath string `xml:",omitempty" json:",omitempty"`
}

// defaultProperties are those of a service that nobody configured.
func defaultProperties(service string) *serviceProperties {
	off := metricsSettings{Version: "1.0"}
	p := &serviceProperties{HourMetrics: &off, MinuteMetrics: &off, Cors: &corsSettings{}}
	if service != "file" {
		p.Logging = &loggingSettings{Version: "1.0"}
	}
	if service == "blob" {
		p.DeleteRetentionPolicy = &deleteRetention{}
		p.StaticWebsite = &staticWebsite{}
	}
	return p
}

func (s *Service) getServiceProperties(c *call) error {
	key := c.acct.UID + "/" + c.service
	p := defaultProperties(c.service)
	err := s.cfg.Store.View(c.r.Context(), func(tx store.Tx) error {
		kept, err := load[serviceProperties](tx, bucketServices, key)
		if err != nil {
			return err
		}
		if kept != nil {
			p.merge(kept)
		}
		if c.service != "blob" {
			return nil
		}
		policy, err := retentionOf(tx, c.acct.UID)
		p.DeleteRetentionPolicy = &deleteRetention{Enabled: policy.Days > 0, Days: policy.Days}
		return err
	})
	if err != nil {
		return fmt.Errorf("read %s service properties: %w", c.service, err)
	}
	body, err := xml.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode %s service properties: %w", c.service, err)
	}
	x := startXML(c.w, http.StatusOK)
	x.raw(string(body))
	return x.end(s, c)
}

// merge takes over the elements that n has: Set leaves the others as they are.
func (p *serviceProperties) merge(n *serviceProperties) {
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

// check refuses what is wrong or would promise what is not done.
func (p *serviceProperties) check(service string) error {
	if len(p.Unknown) > 0 {
		return refuse("UnsupportedXmlNode").With("XmlNodeName", p.Unknown[0].XMLName.Local)
	}
	if d := p.DeleteRetentionPolicy; d != nil {
		if d.AllowPermanentDelete != nil && *d.AllowPermanentDelete {
			return notImplemented("the permanent deletion of what soft delete keeps")
		}
		if d.Enabled && (d.Days < 1 || d.Days > 365) {
			return refuse("InvalidXmlNodeValue").With("XmlNodeName", "Days").With("XmlNodeValue", strconv.Itoa(d.Days))
		}
	}
	if service != "blob" && (p.StaticWebsite != nil || p.DeleteRetentionPolicy != nil || p.DefaultServiceVersion != "") {
		return refuse("UnsupportedXmlNode")
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
			return refuse("InvalidXmlNodeValue").With("XmlNodeName", "Days").With("XmlNodeValue", strconv.Itoa(r.Days))
		}
	}
	if p.Cors != nil && len(p.Cors.CorsRule) > 5 {
		return refuse("InvalidXmlDocument").With("Reason", "A service has at most five CORS rules.")
	}
	if v := p.DefaultServiceVersion; v != "" && !isVersion(v) {
		return refuse("InvalidXmlNodeValue").With("XmlNodeName", "DefaultServiceVersion").With("XmlNodeValue", v)
	}
	return nil
}

// setSoftDelete changes that part of an account's retention policy.
func (s *Service) setSoftDelete(tx store.Tx, a *Account, d *deleteRetention) error {
	p, err := retentionOf(tx, a.UID)
	if err != nil {
		return err
	}
	if p.Days = 0; d.Enabled {
		if a.HNS {
			return notImplemented("soft delete with a hierarchical namespace")
		}
		p.Days = d.Days
	}
	return s.SetRetentionIn(tx, a.UID, p)
}

func (s *Service) setServiceProperties(c *call) error {
	var in serviceProperties
	if err := readXML(c.r, &in); err != nil {
		return err
	}
	if err := in.check(c.service); err != nil {
		return err
	}
	key := c.acct.UID + "/" + c.service
	err := s.cfg.Store.Update(c.r.Context(), func(tx store.Tx) error {
		kept, err := load[serviceProperties](tx, bucketServices, key)
		if err != nil {
			return err
		}
		if kept == nil {
			kept = &serviceProperties{}
		}
		kept.merge(&in)
		if d := kept.DeleteRetentionPolicy; d != nil {
			// ARM changes it, too, so it has a row of its own.
			if err := s.setSoftDelete(tx, c.acct, d); err != nil {
				return err
			}
			kept.DeleteRetentionPolicy = nil
		}
		return save(tx, bucketServices, key, kept)
	})
	if err != nil {
		return fmt.Errorf("set %s service properties: %w", c.service, err)
	}
	if in.StaticWebsite != nil && in.StaticWebsite.Enabled {
		// Azure makes the container that a static website is served from.
		if err := s.EnsureContainer(c.r.Context(), c.acct.Name, "$web"); err != nil {
			return err
		}
	}
	c.w.Header()["Content-Length"] = []string{"0"}
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

// serveOther serves the endpoints besides blob: the properties of the services
// that have them.
func (s *Service) serveOther(c *call) error {
	if !hasWord("queue table file", c.service) || c.r.URL.Path != "/" && c.r.URL.Path != "" ||
		c.q.Get("restype") != "service" || c.q.Get("comp") != "properties" {
		return notImplemented(c.r.Method + " on the " + c.service + " endpoint")
	}
	op := &operation{name: "Get " + c.service + " service properties", level: onService, account: "r",
		action: "Microsoft.Storage/storageAccounts/" + c.service + "Services/read", do: (*Service).getServiceProperties}
	switch c.r.Method {
	case http.MethodGet:
	case http.MethodPut:
		op.name, op.account = "Set "+c.service+" service properties", "w"
		op.action = "Microsoft.Storage/storageAccounts/" + c.service + "Services/write"
		op.do = (*Service).setServiceProperties
	default:
		return refuse("UnsupportedHttpVerb")
	}
	c.op = op
	if err := s.authorize(c); err != nil {
		return err
	}
	return op.do(s, c)
}
