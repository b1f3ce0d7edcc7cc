package blob

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// newDFSOperations lists the Data Lake Storage endpoint. In its rows restype is
// the resource parameter and comp the action parameter. A row without do is known
// and not implemented. Permissions are those of Microsoft's "Create a service
// SAS" and "Access control lists (ACLs) in Azure Data Lake Storage".
func newDFSOperations() *operations {
	const fs = "filesystem"
	const read, write = "containers/blobs/read", "containers/blobs/write"
	const modify = "containers/blobs/modifyPermissions/action"
	return &operations{rows: []operation{
		{name: "Filesystem List", level: onService, methods: "GET", restype: "account", account: "l", action: "containers/read", do: (*Service).listFilesystems},
		{name: "Filesystem Create", level: onContainer, methods: "PUT", restype: fs, account: "wc", action: "containers/write", do: (*Service).createFilesystem},
		{name: "Filesystem Delete", level: onContainer, methods: "DELETE", restype: fs, account: "d", action: "containers/delete", do: (*Service).deleteContainer},
		{name: "Filesystem Get Properties", level: onContainer, methods: "HEAD", restype: fs, account: "r", action: "containers/read", do: (*Service).getFilesystem},
		{name: "Filesystem Set Properties", level: onContainer, methods: "PATCH", restype: fs, account: "w", action: "containers/write", do: (*Service).setFilesystem},
		{name: "Path List", level: onContainer, methods: "GET", restype: fs, sas: "l", account: "l", action: read, data: true, need: needList, do: (*Service).listPaths},

		// Paths. Rows with a header come before those without.
		{name: "Path Create (rename)", level: onBlob, methods: "PUT", header: "x-ms-rename-source", sas: "w", account: "w", create: "c", action: write, data: true, need: needCreate, do: (*Service).renamePath},
		{name: "Path Create (file)", level: onBlob, methods: "PUT", restype: "file", sas: "w", account: "w", create: "c", action: write, data: true, addAction: "containers/blobs/add/action", need: needCreate, do: (*Service).createFile},
		{name: "Path Create (directory)", level: onBlob, methods: "PUT", restype: "directory", sas: "w", account: "w", create: "c", action: write, data: true, addAction: "containers/blobs/add/action", need: needCreate, do: (*Service).createDirectory},
		{name: "Path Read", level: onBlob, methods: "GET", sas: "r", account: "r", action: read, data: true, need: needRead, do: (*Service).getBlob},
		{name: "Path Get Properties", level: onBlob, methods: "HEAD", sas: "er", account: "r", action: read, data: true, need: needTraverse, do: (*Service).getPathProperties},
		{name: "Path Delete", level: onBlob, methods: "DELETE", sas: "d", account: "d", action: "containers/blobs/delete", data: true, need: needDelete, do: (*Service).deletePath},
		{name: "Path Lease", level: onBlob, methods: "POST", sas: "w", account: "w", action: write, data: true, need: needWrite, do: (*Service).leaseBlob},
		{name: "Path Undelete", level: onBlob, methods: "PUT", header: "x-ms-undelete-source", sas: "w", account: "w", action: write, data: true, do: (*Service).undeletePath},
		{name: "Path Update (append)", level: onBlob, methods: "PATCH", comp: "append", sas: "aw", account: "aw", action: write, data: true, need: needAppend, do: (*Service).appendPath},
		{name: "Path Update (flush)", level: onBlob, methods: "PATCH", comp: "flush", sas: "aw", account: "aw", action: write, data: true, need: needAppend, do: (*Service).flushPath},
		{name: "Path Update (setProperties)", level: onBlob, methods: "PATCH", comp: "setproperties", sas: "w", account: "w", action: write, data: true, need: needWrite, do: (*Service).setPathProperties},
		{name: "Path Update (setAccessControlRecursive)", level: onBlob, methods: "PATCH", comp: "setaccesscontrolrecursive", sas: "p", account: "p", action: modify, data: true, need: needTraverse, do: (*Service).setAccessControlRecursive},
		{name: "Path Get Properties (checkAccess)", level: onBlob, methods: "HEAD", comp: "checkaccess", sas: "er", account: "r", action: read, data: true, need: needTraverse, do: (*Service).checkAccess},
		{name: "Path Get Properties (getAccessControl)", level: onBlob, methods: "HEAD", comp: "getaccesscontrol", sas: "er", account: "r", action: read, data: true, need: needTraverse, do: (*Service).getAccessControl},
		{name: "Path Get Properties (getStatus)", level: onBlob, methods: "HEAD", comp: "getstatus", sas: "er", account: "r", action: read, data: true, need: needTraverse, do: (*Service).getStatus},
		{name: "Path Update (setAccessControl)", level: onBlob, methods: "PATCH", comp: "setaccesscontrol", sas: "po", account: "p", action: modify, data: true, need: needOwner, do: (*Service).setAccessControl},
	}}
}

// DFSOperations lists what the Data Lake Storage endpoint of Azure can do, and
// whether this one does it.
func DFSOperations() []Operation { return newDFSOperations().list() }

// dfsPath takes the path of a request to the dfs endpoint apart. The path inside
// the file system has no slashes around it; "" is the root directory.
func dfsPath(u *url.URL) (filesystem, path string) {
	filesystem, path, _ = strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	return filesystem, strings.Trim(strings.ReplaceAll(path, `\`, "/"), "/")
}

// serveDFS serves {account}.dfs.core.windows.net.
func (s *Service) serveDFS(c *call) error {
	c.w.Header()["Server"] = []string{"Windows-Azure-HDFS/1.0 Microsoft-HTTPAPI/2.0"}
	c.container, c.blob = dfsPath(c.r.URL)
	l := onBlob
	switch resource := strings.ToLower(c.q.Get("resource")); {
	case c.container == "":
		l = onService
	case resource == "filesystem":
		if c.blob != "" {
			return badQuery("resource", resource, "")
		}
		l = onContainer
	}
	if c.container != "" {
		if err := checkContainerName(c.container); err != nil {
			return err
		}
	}
	if c.blob != "" {
		if err := checkBlobName(c.blob); err != nil {
			return err
		}
	}
	var err error
	if c.op, err = s.dfs.findDFS(l, c.r, c.q); err != nil {
		return err
	}
	if dir := strings.Trim(c.q.Get("directory"), "/"); c.op.need == needList && dir != "" {
		// The list is of this directory, and so are the rights to it.
		if err := checkBlobName(dir); err != nil {
			return err
		}
		c.blob = dir
	}
	if err := s.authorize(c); err != nil {
		return err
	}
	if c.op.do == nil {
		return notImplemented(c.op.name)
	}
	if err := s.refuseUnsupported(c); err != nil {
		return err
	}
	return c.op.do(s, c)
}

// findDFS is find for the dfs endpoint.
func (o *operations) findDFS(l level, r *http.Request, q url.Values) (*operation, error) {
	method := r.Method
	if m := r.Header.Get("X-HTTP-Method-Override"); m != "" && method == http.MethodPut {
		method = strings.ToUpper(m) // of clients that cannot PATCH
	}
	resource, action := strings.ToLower(q.Get("resource")), strings.ToLower(q.Get("action"))
	known := false
	for i := range o.rows {
		op := &o.rows[i]
		if op.level != l || op.restype != resource || op.comp != action {
			continue
		}
		known = true
		if storage.HasWord(op.methods, method) && (op.header == "" || r.Header.Get(op.header) != "") {
			return op, nil
		}
	}
	switch {
	case known:
		return nil, refuse("UnsupportedHttpVerb")
	case action != "":
		return nil, badQuery("action", q.Get("action"), "")
	case resource != "":
		return nil, badQuery("resource", q.Get("resource"), "")
	case l == onService:
		return nil, refuse("MissingRequiredQueryParameter").With("QueryParameterName", "resource")
	}
	return nil, refuse("UnsupportedHttpVerb")
}

// dfsError says a refusal in the terms of the dfs endpoint. Sentences are those
// of Microsoft's Data Lake Storage Gen2 REST reference.
func dfsError(e *Error) *Error {
	out := *e
	switch e.Code {
	case "ContainerNotFound":
		out.Code, out.Message = "FilesystemNotFound", "The specified filesystem does not exist."
	case "ContainerAlreadyExists":
		out.Code, out.Message = "FilesystemAlreadyExists", "The specified filesystem already exists."
	case "BlobNotFound":
		out.Code, out.Message = "PathNotFound", "The specified path does not exist."
	case "BlobAlreadyExists":
		out.Code, out.Message = "PathAlreadyExists", "The specified path already exists."
	case "UnauthorizedBlobOverwrite":
		out.Code = "UnauthorizedPathOverwrite"
	case "InvalidBlobType", "InvalidBlobOrBlock":
		out.Status, out.Code = http.StatusConflict, "InvalidFlushOperation"
		out.Message = "The resource was created or modified by the Blob Service API and cannot be written to by the Data Lake Storage Service API."
	case "DirectoryIsNotEmpty":
		out.Code, out.Message = "DirectoryNotEmpty", "The recursive query parameter value must be true to delete a non-empty directory."
	case "LeaseNotPresentWithBlobOperation", "LeaseNotPresentWithContainerOperation":
		out.Code, out.Message = "LeaseNotPresent", "There is currently no lease on the resource."
	}
	return &out
}

// writeDFSError writes the body of a refusal.
func writeDFSError(w io.Writer, e *Error, requestID string, now time.Time) {
	type detail struct {
		Code    string            `json:"code"`
		Message string            `json:"message"`
		Detail  map[string]string `json:"detail,omitempty"`
	}
	d := detail{Code: e.Code, Message: e.Message + "\nRequestId:" + requestID + "\nTime:" + storage.FullTime(now)}
	for _, x := range e.Details {
		if d.Detail == nil {
			d.Detail = map[string]string{}
		}
		d.Detail[x.Name] = x.Value
	}
	_ = json.NewEncoder(w).Encode(map[string]detail{"error": d}) // the client may be gone
}

// writeJSON answers with a document.
func (s *Service) writeJSON(c *call, doc any) error {
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	c.w.Header()["Content-Type"] = []string{"application/json;charset=utf-8"}
	c.w.WriteHeader(http.StatusOK)
	if _, err := c.w.Write(body); err != nil {
		s.log.Debug("response cut short", "request", c.id, "error", err)
	}
	return nil
}

// parseProperties reads x-ms-properties: name=base64 pairs. They are the
// metadata of the Blob service, one byte of a value to one character. Nil means
// that the header is not there.
func parseProperties(h http.Header) (map[string]string, error) {
	if _, ok := h["X-Ms-Properties"]; !ok {
		return nil, nil
	}
	const name = "x-ms-properties"
	meta := map[string]string{}
	total := 0
	v := h.Get(name)
	if strings.TrimSpace(v) == "" {
		return meta, nil
	}
	for pair := range strings.SplitSeq(v, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok {
			return nil, badHeader(name, v)
		}
		if !storage.ValidMetadataName(key) {
			return nil, &Error{Status: http.StatusBadRequest, Code: "InvalidPropertyName", Message: "The property name contains invalid characters."}
		}
		raw, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return nil, badHeader(name, v)
		}
		if _, twice := meta[key]; twice {
			return nil, badHeader(name, v)
		}
		runes := make([]rune, len(raw))
		for i, b := range raw {
			runes[i] = rune(b)
		}
		meta[key] = string(runes)
		total += len(key) + len(raw)
	}
	if total > storage.MaxMetadata {
		return nil, refuse("MetadataTooLarge")
	}
	return meta, nil
}

// formatProperties is the opposite of parseProperties.
func formatProperties(meta map[string]string) string {
	var out []string
	for _, k := range sortedKeys(meta) {
		raw := make([]byte, 0, len(meta[k]))
		for _, r := range meta[k] {
			if r > 0xff { // metadata of the Blob service is ASCII
				r = '?'
			}
			raw = append(raw, byte(r))
		}
		out = append(out, k+"="+base64.StdEncoding.EncodeToString(raw))
	}
	return strings.Join(out, ",")
}

// flagQuery reads a query parameter that is true or false.
func flagQuery(c *call, name string) (bool, error) {
	switch v := c.q.Get(name); strings.ToLower(v) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, badQuery(name, v, "")
	}
}

// needsTree refuses what only a hierarchical namespace has.
func needsTree(c *call) error {
	if c.acct.HNS {
		return nil
	}
	return &Error{Status: http.StatusBadRequest, Code: "HierarchicalNamespaceNotEnabled",
		Message: "Hierarchical namespace is not enabled for the storage account."}
}

// given reports whether the request has any of the headers.
func given(c *call, names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return c.r.Header.Get(n) != "" })
}
