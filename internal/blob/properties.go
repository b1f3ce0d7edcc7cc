package blob

import (
	"fmt"
	"net/http"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

func (s *Service) getServiceProperties(c *call) error {
	p := storage.DefaultProperties(c.service)
	err := s.cfg.Store.View(c.r.Context(), func(tx store.Tx) error {
		kept, err := storage.LoadProperties(tx, c.acct.UID, c.service)
		if err != nil {
			return err
		}
		if kept != nil {
			p.Merge(kept)
		}
		if c.service != "blob" {
			return nil
		}
		policy, err := retentionOf(tx, c.acct.UID)
		p.DeleteRetentionPolicy = &storage.DeleteRetention{Enabled: policy.Days > 0, Days: policy.Days}
		return err
	})
	if err != nil {
		return fmt.Errorf("read %s service properties: %w", c.service, err)
	}
	x, err := storage.WriteProperties(c.w, p)
	if err != nil {
		return err
	}
	return (&xmlWriter{x}).end(s, c)
}

// setSoftDelete changes that part of an account's retention policy.
func (s *Service) setSoftDelete(tx store.Tx, a *Account, d *storage.DeleteRetention) error {
	p, err := retentionOf(tx, a.UID)
	if err != nil {
		return err
	}
	if p.Days = 0; d.Enabled {
		p.Days = d.Days
	}
	return s.SetRetentionIn(tx, a.UID, p)
}

func (s *Service) setServiceProperties(c *call) error {
	var in storage.ServiceProperties
	if err := storage.ReadXML(c.r, &in); err != nil {
		return err
	}
	if err := in.Check(c.service); err != nil {
		return err
	}
	err := s.cfg.Store.Update(c.r.Context(), func(tx store.Tx) error {
		kept, err := storage.LoadProperties(tx, c.acct.UID, c.service)
		if err != nil {
			return err
		}
		if kept == nil {
			kept = &storage.ServiceProperties{}
		}
		kept.Merge(&in)
		if d := kept.DeleteRetentionPolicy; d != nil {
			// ARM changes it, too, so it has a row of its own.
			if err := s.setSoftDelete(tx, c.acct, d); err != nil {
				return err
			}
			kept.DeleteRetentionPolicy = nil
		}
		return storage.SaveProperties(tx, c.acct.UID, c.service, kept)
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
	if !storage.HasWord("queue table file", c.service) || c.r.URL.Path != "/" && c.r.URL.Path != "" ||
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
