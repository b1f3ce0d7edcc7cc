package network_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/rp/rptest"
)

const zone = rptest.Group + "/providers/Microsoft.Network/privateDnsZones/lab.internal"

func TestZone(t *testing.T) {
	e := newEnv(t, nil)
	e.Refused(http.StatusBadRequest, "InvalidResourceName", "", "PUT", strings.Replace(zone, "lab.internal", "single", 1), `{"location":"global"}`)
	r := e.Want(http.StatusCreated, "PUT", zone, `{"location":"global"}`)
	if r.Body.String("location") != "global" || r.Body.Int("properties.numberOfRecordSets", 0) != 1 || r.Body.Int("properties.maxNumberOfRecordSets", 0) != 25000 {
		t.Errorf("zone: %s", r.Raw)
	}
	soa := e.Want(http.StatusOK, "GET", zone+"/SOA/@", nil)
	if soa.Body.String("properties.soaRecord.host") != "azureprivatedns.net" || soa.Body.String("properties.fqdn") != "lab.internal." {
		t.Errorf("soa: %s", soa.Raw)
	}
	soa = e.Want(http.StatusOK, "PUT", zone+"/SOA/@", `{"properties":{"ttl":100,"soaRecord":{"email":"me.example.com","host":"elsewhere"}}}`)
	if soa.Body.String("properties.soaRecord.email") != "me.example.com" || soa.Body.String("properties.soaRecord.host") != "azureprivatedns.net" || soa.Body.Int("properties.soaRecord.retryTime", 0) != 300 {
		t.Errorf("soa: %s", soa.Raw)
	}
	e.Refused(http.StatusBadRequest, "BadRequest", "", "DELETE", zone+"/SOA/@", nil)
	e.Refused(http.StatusBadRequest, "BadRequest", "", "PUT", zone+"/SOA/x", `{"properties":{"ttl":100,"soaRecord":{"email":"me"}}}`)

	good := map[string]string{
		"A/a":      `"aRecords":[{"ipv4Address":"10.0.0.4"},{"ipv4Address":"10.0.0.5"}]`,
		"AAAA/a":   `"aaaaRecords":[{"ipv6Address":"fd00::1"}]`,
		"CNAME/c":  `"cnameRecord":{"cname":"a.lab.internal"}`,
		"MX/@":     `"mxRecords":[{"preference":10,"exchange":"mail.lab.internal"}]`,
		"PTR/4.0":  `"ptrRecords":[{"ptrdname":"a.lab.internal"}]`,
		"SRV/_s.x": `"srvRecords":[{"priority":1,"weight":2,"port":443,"target":"a.lab.internal"}]`,
		"TXT/*.t":  `"txtRecords":[{"value":["one","two"]}]`,
	}
	for name, records := range good {
		r := e.Want(http.StatusCreated, "PUT", zone+"/"+name, `{"properties":{"ttl":60,`+records+`,"metadata":{"by":"hand"}}}`)
		if typ, _, _ := strings.Cut(name, "/"); r.Body.String("type") != "Microsoft.Network/privateDnsZones/"+typ || r.Body.String("etag") == "" || r.Body.Has("properties.provisioningState") {
			t.Errorf("%s: %s", name, r.Raw)
		}
	}
	for name, records := range map[string]string{
		"A/x":     `"aRecords":[{"ipv4Address":"fd00::1"}]`,
		"AAAA/x":  `"aaaaRecords":[{"ipv6Address":"10.0.0.4"}]`,
		"CNAME/x": `"cnameRecord":null`,
		"CNAME/@": `"cnameRecord":{"cname":"a"}`,
		"MX/x":    `"mxRecords":[{"preference":70000,"exchange":"m"}]`,
		"PTR/x":   `"ptrRecords":[{}]`,
		"SRV/x":   `"srvRecords":[{"priority":1,"target":"a"}]`,
		"TXT/x":   `"txtRecords":[{"value":["` + strings.Repeat("x", 256) + `"]}]`,
	} {
		e.Refused(http.StatusBadRequest, "BadRequest", "", "PUT", zone+"/"+name, `{"properties":{"ttl":60,`+records+`}}`)
	}
	e.Refused(http.StatusBadRequest, "BadRequest", "ttl", "PUT", zone+"/A/x", `{"properties":{"aRecords":[]}}`)
	e.Refused(http.StatusConflict, "Conflict", "", "PUT", zone+"/CNAME/a", `{"properties":{"ttl":60,"cnameRecord":{"cname":"b"}}}`)
	e.Refused(http.StatusConflict, "Conflict", "", "PUT", zone+"/A/c", `{"properties":{"ttl":60,"aRecords":[]}}`)
	if r := e.Do("PUT", zone+"/A/a", `{"properties":{"ttl":60}}`, "If-None-Match", "*"); r.Status != http.StatusPreconditionFailed {
		t.Errorf("a set that is there is made: %d", r.Status)
	}
	r = e.Want(http.StatusOK, "PATCH", zone+"/A/a", `{"properties":{"ttl":90}}`)
	if r.Body.Int("properties.ttl", 0) != 90 || len(r.Body.List("properties.aRecords")) != 2 {
		t.Errorf("patch: %s", r.Raw)
	}

	if r := e.Want(200, "GET", zone, nil); r.Body.Int("properties.numberOfRecordSets", 0) != 1+len(good) {
		t.Errorf("zone: %s", r.Raw)
	}
	var names []string
	pages := 0
	for next := zone + "/ALL?$top=3"; next != ""; pages++ {
		r := e.Want(http.StatusOK, "GET", next, nil)
		for _, v := range r.Body.List("value") {
			names = append(names, v.(map[string]any)["name"].(string))
		}
		next = r.Body.String("nextLink")
	}
	if got := strings.Join(names, " "); got != "a a c @ 4.0 @ _s.x *.t" || pages != 3 {
		t.Errorf("all in %d pages: %s", pages, got)
	}
	if got := e.Want(200, "GET", zone+"/A", nil).Names(); len(got) != 1 {
		t.Errorf("A: %v", got)
	}
	e.Want(http.StatusOK, "DELETE", zone+"/A/a", nil)
	if r := e.Want(200, "GET", zone, nil); r.Body.Int("properties.numberOfRecordSets", 0) != len(good) {
		t.Errorf("zone: %s", r.Raw)
	}
	e.Want(http.StatusOK, "DELETE", zone, nil)
	e.Want(http.StatusNotFound, "GET", zone+"/SOA/@", nil)
}

func TestZoneLinks(t *testing.T) {
	e := newEnv(t, nil)
	link := func(zone, name, network string, registers bool) *rptest.Result {
		return e.Do("PUT", zone+"/virtualNetworkLinks/"+name, fmt.Sprintf(`{"location":"global","properties":{"virtualNetwork":{"id":%q},"registrationEnabled":%v}}`, network, registers))
	}
	e.Want(http.StatusCreated, "PUT", zone, `{"location":"global"}`)
	if r := link(zone, "one", vnet, true); r.Status != http.StatusCreated || r.Body.String("properties.virtualNetworkLinkState") != "Completed" {
		t.Errorf("link: %d %s", r.Status, r.Raw)
	}
	if r := link(zone, "none", vnet+"0", false); r.Code() != "InvalidResourceReference" {
		t.Errorf("a link to nothing: %s", r.Raw)
	}
	if r := link(zone, "two", vnet, false); !strings.Contains(r.Message(), "multiple zones with overlapping namespaces") {
		t.Errorf("a second link: %s", r.Raw)
	}
	other := strings.Replace(zone, "lab.internal", "other.internal", 1)
	e.Want(http.StatusCreated, "PUT", other, `{"location":"global"}`)
	if r := link(other, "one", vnet, true); !strings.Contains(r.Message(), "conflicting Private DNS zone is 'lab.internal'") {
		t.Errorf("a second zone to register in: %s", r.Raw)
	}
	if r := e.Want(200, "GET", zone, nil); r.Body.Int("properties.numberOfVirtualNetworkLinks", 0) != 1 || r.Body.Int("properties.numberOfVirtualNetworkLinksWithRegistration", 0) != 1 {
		t.Errorf("zone: %s", r.Raw)
	}
	if r := link(zone, "one", vnet, false); r.Status != http.StatusOK {
		t.Errorf("update: %d %s", r.Status, r.Raw)
	}
	if r := link(other, "one", vnet, true); r.Status != http.StatusCreated {
		t.Errorf("link: %d %s", r.Status, r.Raw)
	}
	e.Refused(http.StatusConflict, "CannotDeleteResource", "virtualNetworkLinks/one", "DELETE", zone, nil)
	e.Want(http.StatusOK, "DELETE", zone+"/virtualNetworkLinks/one", nil)
	if r := e.Want(200, "GET", zone, nil); r.Body.Int("properties.numberOfVirtualNetworkLinks", 9) != 0 || r.Body.Int("properties.numberOfVirtualNetworkLinksWithRegistration", 9) != 0 {
		t.Errorf("zone: %s", r.Raw)
	}
	e.Want(http.StatusOK, "DELETE", zone, nil)
	e.Want(http.StatusAccepted, "DELETE", rptest.Group, nil)
}
