package network

import (
	"context"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// records says how a record type's sets look in a document.
type records struct {
	// typ is the last part of the ARM type: "A".
	typ string
	// path is the property that holds the records; one says that it is an object
	// and not a list.
	path string
	one  bool
	// check looks at one record.
	check func(r arm.Doc) bool
}

func recordTypes() []records {
	text := func(path string) func(arm.Doc) bool {
		return func(r arm.Doc) bool { return r.String(path) != "" }
	}
	return []records{
		{typ: "A", path: "properties.aRecords", check: func(r arm.Doc) bool {
			a, err := netip.ParseAddr(r.String("ipv4Address"))
			return err == nil && a.Is4()
		}},
		{typ: "AAAA", path: "properties.aaaaRecords", check: func(r arm.Doc) bool {
			a, err := netip.ParseAddr(r.String("ipv6Address"))
			return err == nil && a.Is6()
		}},
		{typ: "CNAME", path: "properties.cnameRecord", one: true, check: text("cname")},
		{typ: "MX", path: "properties.mxRecords", check: func(r arm.Doc) bool {
			return r.String("exchange") != "" && isUint16(r, "preference")
		}},
		{typ: "PTR", path: "properties.ptrRecords", check: text("ptrdname")},
		{typ: "SOA", path: "properties.soaRecord", one: true, check: text("email")},
		{typ: "SRV", path: "properties.srvRecords", check: func(r arm.Doc) bool {
			return r.String("target") != "" && isUint16(r, "priority") && isUint16(r, "weight") && isUint16(r, "port")
		}},
		{typ: "TXT", path: "properties.txtRecords", check: func(r arm.Doc) bool {
			size := 0
			for _, v := range r.List("value") {
				s, ok := v.(string)
				if !ok || len(s) > 255 {
					return false
				}
				size += len(s)
			}
			return len(r.List("value")) > 0 && size <= 1024
		}},
	}
}

func isUint16(r arm.Doc, path string) bool {
	n := r.Int(path, -1)
	return n >= 0 && n <= 65535
}

var recordName = regexp.MustCompile(`^(@|(\*|[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*)$`)

// recordSetType is the record sets of one type.
func (p *provider) recordSetType(rec records) *arm.ResourceType {
	return &arm.ResourceType{
		Type: ZoneType + "/" + rec.typ, ETag: true, NoProvisioningState: true,
		Name: arm.NameRule{
			Pattern: recordName,
			Text:    "The name of a record set is '@', or labels of 1 to 63 letters, digits, '_' and '-', of which the first may be '*'.",
		},
		Put: func(_ context.Context, put *arm.Put) error { return p.putRecordSet(put, rec) },
		Delete: func(_ context.Context, d *arm.Delete) error {
			zone := d.Resource.ParsedID().Parent()
			if d.GoesToo(zone.String()) {
				return nil
			}
			if rec.typ == "SOA" {
				// that it is refused is documented, the words are not known
				return arm.BadRequest("BadRequest", "The SOA record set of private DNS zone '%s' goes with the zone alone.", zone.Name())
			}
			return p.count(d.Tx, zone, countRecordSets, -1, 0)
		},
	}
}

func (p *provider) putRecordSet(put *arm.Put, rec records) error {
	body, zone, name := put.Resource.Body, put.ID.Parent(), put.ID.Name()
	// Azure's words for what is wrong with records are not known
	bad := func(format string, args ...any) error { return arm.BadRequest("BadRequest", format, args...) }
	if body.Has("properties.metadata") && body.Object("properties.metadata") == nil {
		return bad("The metadata of record set '%s' are not an object.", name)
	}
	put.Keep("properties.ttl")
	if ttl := body.Int("properties.ttl", -1); ttl < 0 || ttl > 1<<31-1 {
		return bad("The record set '%s' needs a ttl of 0 to 2147483647.", name)
	}
	if rec.typ == "SOA" {
		put.Keep(rec.path)
		if put.Existing != nil {
			for _, v := range []string{"email", "host", "expireTime", "minimumTtl", "refreshTime", "retryTime", "serialNumber"} {
				put.Keep(rec.path + "." + v)
			}
			put.Force(rec.path + ".host")
		}
	}
	if err := p.checkRecords(body, rec, name); err != nil {
		return err
	}
	if put.Creating() && rec.typ == "SOA" {
		return bad("The SOA record set of a zone is named '@'.")
	}
	if err := p.checkCNAME(put.Tx, zone, rec, name); err != nil {
		return err
	}
	fqdn := zone.Name() + "."
	if name != "@" {
		fqdn = name + "." + fqdn
	}
	body.Set("properties.fqdn", fqdn)
	body.Set("properties.isAutoRegistered", false)
	if put.Creating() {
		return p.count(put.Tx, zone, countRecordSets, 1, maxRecordSets)
	}
	return nil
}

func (p *provider) checkRecords(body arm.Doc, rec records, name string) error {
	var list []any
	if v := body.Get(rec.path); v != nil {
		if rec.one {
			list = []any{v}
		} else {
			list, _ = v.([]any)
		}
	}
	if len(list) == 0 && rec.one {
		return arm.BadRequest("BadRequest", "The record set '%s' of type %s has no record.", name, rec.typ)
	}
	if len(list) > 20 {
		return arm.BadRequest("BadRequest", "The record set '%s' has %d records; 20 is the most.", name, len(list))
	}
	for i, v := range list {
		m, _ := v.(map[string]any)
		if !rec.check(m) {
			e := arm.BadRequest("BadRequest", "Record %d of record set '%s' is not a %s record.", i+1, name, rec.typ)
			e.Target = rec.path
			return e
		}
	}
	for _, other := range recordTypes() {
		if other.typ != rec.typ {
			body.Delete(other.path)
		}
	}
	return nil
}

// checkCNAME keeps a CNAME alone under its name, as DNS has it (RFC 1034, 3.6.2).
func (p *provider) checkCNAME(tx store.Tx, zone arm.ID, rec records, name string) error {
	if rec.typ == "CNAME" && name == "@" {
		return arm.BadRequest("BadRequest", "A CNAME record set cannot stand at the apex of zone '%s'.", zone.Name())
	}
	for _, other := range recordTypes() {
		if other.typ == rec.typ || other.typ != "CNAME" && rec.typ != "CNAME" {
			continue
		}
		there, err := p.kernel.Resources().Exists(tx, zone.Child(other.typ, name).Key())
		if err != nil {
			return err
		}
		if there {
			return arm.Errorf(http.StatusConflict, "Conflict",
				"The record set '%s' of type %s cannot be in zone '%s': one of type %s has that name, and a CNAME is alone under its name.", name, rec.typ, zone.Name(), other.typ)
		}
	}
	return nil
}

// allRecordsType lists the record sets of a zone, of whatever type.
func (p *provider) allRecordsType() *arm.ResourceType {
	return &arm.ResourceType{
		Type: ZoneType + "/ALL", Virtual: true, Methods: []string{"LIST"},
		List: p.listRecordSets,
	}
}

// listRecordSets goes through the types in turn. The token is the index of a
// type and the name of the last set of it.
func (p *provider) listRecordSets(ctx context.Context, req *arm.Request, zone arm.ID) (*arm.Page, error) {
	if req.Query.Get("$recordsetnamesuffix") != "" {
		return nil, arm.NotImplemented("$recordsetnamesuffix in lists of record sets")
	}
	size, token, err := req.Paging()
	if err != nil {
		return nil, err
	}
	from, after, _ := strings.Cut(token, "|")
	begin, _ := strconv.Atoi(from) // none is the first
	page := &arm.Page{}
	err = p.kernel.Store().View(ctx, func(tx store.Tx) error {
		if _, err := p.kernel.Load(ctx, tx, zone); err != nil {
			return err
		}
		for i, rec := range recordTypes() {
			if i < begin {
				continue
			}
			for r, err := range p.kernel.Resources().Children(tx, zone, ZoneType+"/"+rec.typ) {
				if err != nil {
					return err
				}
				name := strings.ToLower(r.Name())
				if i == begin && after != "" && name <= after {
					continue
				}
				if len(page.Value) == size {
					return nil
				}
				doc, err := p.kernel.Render(ctx, tx, r)
				if err != nil {
					return err
				}
				page.Value = append(page.Value, doc)
				page.Next = arm.EncodeToken(strconv.Itoa(i) + "|" + name)
			}
		}
		page.Next = "" // that was all
		return nil
	})
	return page, err
}
