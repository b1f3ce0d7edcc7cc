package provider

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// storageBlob works on the blob data plane. The resource's ID is the blob's
// address. 3.x names account and container, 5.x gives the container's ARM ID, and
// 4.x takes either.
func storageBlob() *resourceType {
	return &resourceType{
		name:       "azurerm_storage_blob",
		apiVersion: storageVersions(),
		fields: []field{ours("name", "storage_account_name", "storage_container_name", "storage_container_id", "type", "size", "access_tier",
			"content_type", "content_md5", "cache_control", "encryption_scope", "source", "source_content", "source_uri", "parallelism", "metadata", "url")},
		store: blobStore{},
		makeID: func(o *operation) (string, error) {
			account, container := asString(o.planned["storage_account_name"]), asString(o.planned["storage_container_name"])
			if id := asString(o.planned["storage_container_id"]); id != "" {
				inside, name, ok := strings.Cut(id, containersOf)
				if !ok || name == "" {
					return "", fmt.Errorf("parsing %q: expected {storageAccountId}%s{container}", id, containersOf)
				}
				account, container = lastSegment(inside), name
			}
			return "https://" + o.host(account, "blob") + "/" + container + "/" + asString(o.planned["name"]), nil
		},
		importID: func(o *operation, id string) (map[string]any, error) {
			at, err := o.blobAt(id)
			if err != nil {
				return nil, err
			}
			args := map[string]any{"name": at.name}
			if o.kind.Attributes["storage_container_name"] != nil {
				args["storage_account_name"], args["storage_container_name"] = at.account, at.container
				return args, nil
			}
			account, err := o.findAccount(o.ctx, at.account)
			args["storage_container_id"] = account + containersOf + at.container
			return args, err
		},
		plan: planStorageBlob,
	}
}

func planStorageBlob(c *change) {
	for _, name := range []string{"storage_account_name", "storage_container_name", "storage_container_id"} {
		if c.differs(name) && !c.kind.Attributes[name].ForceNew {
			c.forceNew(name)
		}
	}
	content, ok := c.planned["source_content"].(string)
	if ok && content != "" && c.planned["type"] == "Page" && len(content)%512 != 0 {
		c.refuse("source_content", "\"source\" must be aligned to 512-byte boundary for \"type\" set to \"Page\"")
	}
}

// blobRef is where a blob is.
type blobRef struct{ account, container, name string }

func (r blobRef) path() string { return "/" + r.container + "/" + r.name }

func (o *operation) blobAt(id string) (blobRef, error) {
	if rest, ok := strings.CutPrefix(id, "https://"); ok {
		host, path, _ := strings.Cut(rest, "/")
		account, ours := strings.CutSuffix(host, ".blob."+o.storageSuffix)
		container, name, deep := strings.Cut(path, "/")
		if ours && account != "" && deep && container != "" && name != "" {
			return blobRef{account: account, container: container, name: name}, nil
		}
	}
	return blobRef{}, fmt.Errorf("parsing %q: expected https://{account}.blob.%s/{container}/{name}", id, o.storageSuffix)
}

// blobStore keeps blobs.
type blobStore struct{}

// open finds a blob's account.
func (blobStore) open(o *operation) (*account, blobRef, error) {
	at, err := o.blobAt(o.id)
	if err != nil {
		return nil, at, err
	}
	id, _, ok := strings.Cut(asString(o.state()["storage_container_id"]), containersOf)
	if !ok {
		if id, err = o.findAccount(o.ctx, at.account); err != nil {
			return nil, at, err
		}
	}
	a, err := o.openAccount(o.ctx, id)
	return a, at, err
}

func (s blobStore) read(o *operation) (map[string]any, error) {
	a, at, err := s.open(o)
	if err != nil {
		if gone(err) {
			return nil, nil
		}
		return nil, err
	}
	h, err := o.data(o.ctx, a, http.MethodHead, "blob", at.path(), "", nil)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	sum := ""
	if v := h.Get("Content-MD5"); v != "" {
		raw, err := base64.StdEncoding.DecodeString(v)
		if err != nil {
			return nil, fmt.Errorf("read Content-MD5: %w", err)
		}
		sum = hex.EncodeToString(raw)
	}
	state := map[string]any{
		"name": at.name, "access_tier": h.Get("x-ms-access-tier"), "content_type": h.Get("Content-Type"), "cache_control": h.Get("Cache-Control"),
		"content_md5": sum, "encryption_scope": h.Get("x-ms-encryption-scope"), "type": strings.TrimSuffix(h.Get("x-ms-blob-type"), "Blob"),
		"url": o.id, "metadata": metadataOf(h),
	}
	if v := h.Get("x-ms-copy-source"); v != "" { // not there once the blob was changed
		state["source_uri"] = v
	}
	if o.kind.Attributes["storage_container_name"] != nil && asString(o.state()["storage_container_id"]) == "" {
		state["storage_account_name"], state["storage_container_name"] = at.account, at.container
	}
	return state, nil
}

func (s blobStore) create(o *operation) error {
	a, at, err := s.open(o)
	if err != nil {
		return err
	}
	if _, err := o.data(o.ctx, a, http.MethodHead, "blob", at.path(), "", nil); err == nil {
		return o.alreadyExists()
	} else if !isNotFound(err) {
		return fmt.Errorf("checking for existing blob: %w", err)
	}
	if err := s.upload(o, a, at); err != nil {
		return err
	}
	o.created = true
	return s.settle(o, a, at, nil)
}

func (s blobStore) update(o *operation) error {
	a, at, err := s.open(o)
	if err != nil {
		return err
	}
	return s.settle(o, a, at, o.prior)
}

// settle sets what of a blob can be changed. After an upload that is what azurerm
// does as well, so that a blob has the checksum that is configured, or none.
func (blobStore) settle(o *operation, a *account, at blobRef, prior map[string]any) error {
	p := o.planned
	changed := func(name string) bool {
		if prior == nil {
			return !isZero(dropUnknown(p[name]))
		}
		return !o.kind.Attributes[name].same(prior[name], p[name])
	}
	if changed("content_type") || changed("cache_control") {
		header := map[string]string{"x-ms-blob-content-type": asString(p["content_type"]), "x-ms-blob-cache-control": asString(p["cache_control"])}
		if sum := asString(p["content_md5"]); sum != "" {
			coded, err := base64MD5(sum)
			if err != nil {
				return err
			}
			header["x-ms-blob-content-md5"] = coded
		}
		if _, err := o.data(o.ctx, a, http.MethodPut, "blob", at.path(), "comp=properties", header); err != nil {
			return fmt.Errorf("updating Properties: %w", err)
		}
	}
	if changed("metadata") {
		header := map[string]string{}
		metadataHeaders(header, p["metadata"])
		if _, err := o.data(o.ctx, a, http.MethodPut, "blob", at.path(), "comp=metadata", header); err != nil {
			return fmt.Errorf("updating MetaData: %w", err)
		}
	}
	if changed("access_tier") {
		header := map[string]string{"x-ms-access-tier": asString(p["access_tier"])}
		if _, err := o.data(o.ctx, a, http.MethodPut, "blob", at.path(), "comp=tier", header); err != nil {
			return fmt.Errorf("updating Access Tier: %w", err)
		}
	}
	return nil
}

func base64MD5(text string) (string, error) {
	raw, err := hex.DecodeString(text)
	if err != nil {
		return "", fmt.Errorf("failed to base64 encode `content_md5` value: %w", err)
	}
	return base64.StdEncoding.EncodeToString(raw), nil
}

func (blobStore) remove(o *operation) error {
	a, at, err := blobStore{}.open(o)
	if err != nil {
		return err
	}
	_, err = o.data(o.ctx, a, http.MethodDelete, "blob", at.path(), "", map[string]string{"x-ms-delete-snapshots": "include"})
	return err
}

// upload makes the blob.
func (s blobStore) upload(o *operation, a *account, at blobRef) error {
	p := o.planned
	source, content, uri, kind := asString(p["source"]), asString(p["source_content"]), asString(p["source_uri"]), asString(p["type"])
	header := map[string]string{"x-ms-blob-type": kind + "Blob", "x-ms-blob-content-type": asString(p["content_type"])}
	metadataHeaders(header, dropUnknown(p["metadata"]))
	if scope := asString(p["encryption_scope"]); scope != "" {
		header["x-ms-encryption-scope"] = scope
	}
	size, _ := p["size"].(float64)
	sum := asString(p["content_md5"])
	switch {
	case kind == "Append" && source+content+uri != "":
		return errors.New("a source cannot be specified for an Append blob")
	case kind != "Block" && sum != "":
		return fmt.Errorf("`content_md5` cannot be specified for a %s blob", kind)
	case kind == "Block" && sum != "" && source+content == "":
		return errors.New("`content_md5` cannot be specified for empty Block blobs")
	case kind == "Page" && source+content != "" && size != 0:
		return errors.New("`size` cannot be set for an uploaded page blob")
	case kind == "Page" && source+content+uri == "" && size == 0:
		return errors.New("`size` cannot be zero for a page blob")
	case uri != "":
		return s.copy(o, a, at, header, uri)
	}
	var body io.Reader = strings.NewReader(content)
	length := int64(len(content))
	if source != "" {
		if !filepath.IsAbs(source) && o.workDir != "" {
			source = filepath.Join(o.workDir, source)
		}
		f, err := os.Open(source)
		if err != nil {
			return fmt.Errorf("opening source file for upload: %w", err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("looking at source file: %w", err)
		}
		body, length = f, info.Size()
	}
	if kind == "Page" {
		if length == 0 {
			length = int64(size)
		}
		header["x-ms-blob-content-length"] = strconv.FormatInt(length, 10)
		if _, err := o.data(o.ctx, a, http.MethodPut, "blob", at.path(), "", header); err != nil {
			return err
		}
		if source+content == "" {
			return nil
		}
		return s.pages(o, a, at, body)
	}
	if length > blobPart {
		return s.blocks(o, a, at, header, body)
	}
	all, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("read source file: %w", err)
	}
	if sum != "" {
		// Azure compares it with what arrives
		if header["x-ms-blob-content-md5"], err = base64MD5(sum); err != nil {
			return err
		}
	}
	_, err = o.dataWith(o.ctx, a, http.MethodPut, "blob", at.path(), "", header, all)
	return err
}

// blobPart is how much of a file is in memory at once.
const blobPart = 4 << 20

// parts calls f with the parts of what r has, in order.
func parts(r io.Reader, f func(offset int64, part []byte) error) error {
	buf := make([]byte, blobPart)
	for offset := int64(0); ; {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if err := f(offset, buf[:n]); err != nil {
				return err
			}
			offset += int64(n)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("read source file: %w", err)
		}
	}
}

// blocks uploads a large block blob in blocks.
func (blobStore) blocks(o *operation, a *account, at blobRef, header map[string]string, r io.Reader) error {
	type latest struct {
		XMLName xml.Name `xml:"BlockList"`
		Latest  []string
	}
	var list latest
	err := parts(r, func(offset int64, part []byte) error {
		id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%016x", offset))
		list.Latest = append(list.Latest, id)
		_, err := o.dataWith(o.ctx, a, http.MethodPut, "blob", at.path(), "comp=block&blockid="+url.QueryEscape(id), nil, part)
		return err
	})
	if err != nil {
		return err
	}
	body, err := xml.Marshal(list)
	if err != nil {
		return fmt.Errorf("encode block list: %w", err)
	}
	delete(header, "x-ms-blob-type")
	_, err = o.dataWith(o.ctx, a, http.MethodPut, "blob", at.path(), "comp=blocklist", header, body)
	return err
}

// pages writes the pages of a blob that are not empty.
func (blobStore) pages(o *operation, a *account, at blobRef, r io.Reader) error {
	return parts(r, func(offset int64, part []byte) error {
		if len(bytes.Trim(part, "\x00")) == 0 {
			return nil
		}
		header := map[string]string{"x-ms-page-write": "update", "x-ms-range": fmt.Sprintf("bytes=%d-%d", offset, offset+int64(len(part))-1)}
		_, err := o.dataWith(o.ctx, a, http.MethodPut, "blob", at.path(), "comp=page", header, part)
		return err
	})
}

// copy has the service fetch the blob from elsewhere, and waits for it.
func (blobStore) copy(o *operation, a *account, at blobRef, header map[string]string, uri string) error {
	delete(header, "x-ms-blob-type")
	delete(header, "x-ms-blob-content-type")
	header["x-ms-copy-source"] = uri
	h, err := o.data(o.ctx, a, http.MethodPut, "blob", at.path(), "", header)
	if err != nil {
		return fmt.Errorf("copying: %w", err)
	}
	for try := 0; h.Get("x-ms-copy-status") == "pending"; try++ {
		if err := o.pause(try); err != nil {
			return err
		}
		if h, err = o.data(o.ctx, a, http.MethodHead, "blob", at.path(), "", nil); err != nil {
			return fmt.Errorf("waiting for the copy: %w", err)
		}
	}
	if s := h.Get("x-ms-copy-status"); s != "" && s != "success" {
		return fmt.Errorf("the copy ended as %q: %s", s, h.Get("x-ms-copy-status-description"))
	}
	return nil
}
