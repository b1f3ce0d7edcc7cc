package arm

import (
	"net/http"
	"strings"
	"time"
)

// Activity is a request that changed something, or tried to: what the activity
// log is made of.
type Activity struct {
	// At is when the request came.
	At time.Time
	// Method is the HTTP method, ID what it was about, Operation the permission that
	// it needs, in Azure's casing where the type is known.
	Method, ID, Operation string
	// Status is the HTTP status, Code the error's code, or "".
	Status int
	Code   string
	Caller Caller
	// Address is where the request came from; CorrelationID ties requests together.
	Address, CorrelationID string
}

// record tells of a request and what came of it.
func (k *Kernel) record(r *http.Request, req *Request, p path, resp *Response, err error) {
	if k.cfg.Activity == nil {
		return
	}
	switch r.Method {
	case http.MethodPut, http.MethodPatch, http.MethodPost, http.MethodDelete:
	default:
		return
	}
	status, code := http.StatusOK, ""
	switch {
	case err != nil:
		e := AsError(err)
		status, code = e.Status, e.Code
	case resp.Status != 0:
		status = resp.Status
	}
	id := k.types.canonical(p.id)
	typ := id.Type()
	a := Activity{At: req.Now, Method: r.Method, ID: id.String(), Status: status, Code: code, Caller: req.Caller,
		Address: r.RemoteAddr, CorrelationID: r.Header.Get("X-Ms-Correlation-Request-Id")}
	switch {
	case r.Method == http.MethodDelete:
		a.Operation = typ + "/delete"
	case r.Method != http.MethodPost:
		a.Operation = typ + "/write"
	case p.namespaceOnly && len(id.Providers) > 0:
		a.Operation = id.Providers[len(id.Providers)-1].Namespace + "/" + p.trailing + "/action"
	case p.trailing != "":
		a.Operation = typ + "/" + p.trailing + "/action"
	default:
		a.Operation = typ + "/action"
	}
	a.Operation = strings.TrimPrefix(a.Operation, "/")
	k.cfg.Activity(a)
}
