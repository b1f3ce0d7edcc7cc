package client

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const storageVersion = "2023-11-03"

// maxSingleUpload is the largest blob that is sent in one request; Azure's own
// limit is 5000 MiB.
const maxSingleUpload = 4 << 30

// WithPath is a shared access URL for a blob of the container that sas is for.
func WithPath(sas, blob string) (string, error) {
	u, err := url.Parse(sas)
	if err != nil {
		return "", fmt.Errorf("shared access URL: %w", err)
	}
	// not JoinPath, which takes "%41" for "A" and resolves ".."
	raw := strings.TrimSuffix(u.EscapedPath(), "/")
	u.Path = strings.TrimSuffix(u.Path, "/")
	for segment := range strings.SplitSeq(blob, "/") {
		u.Path += "/" + segment
		raw += "/" + url.PathEscape(segment)
	}
	u.RawPath = raw
	return u.String(), nil
}

// PutBlob uploads size bytes as a block blob to a shared access URL.
func (c *Client) PutBlob(ctx context.Context, target string, body io.Reader, size int64) error {
	if size > maxSingleUpload {
		return fmt.Errorf("upload: %d bytes are more than one blob of this client may have (%d)", size, int64(maxSingleUpload))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, target, io.NopCloser(body))
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	req.ContentLength = size
	if size == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("x-ms-blob-type", "BlockBlob")
	req.Header.Set("x-ms-version", storageVersion)
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("upload: %w", storageError(resp))
	}
	return nil
}

// ReadBlob copies what a blob has from offset on to w and returns how much that
// was. A blob that is not there, or has nothing beyond offset, gives 0.
func (c *Client) ReadBlob(ctx context.Context, target string, offset int64, w io.Writer) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, fmt.Errorf("read blob: %w", err)
	}
	req.Header.Set("x-ms-version", storageVersion)
	if offset > 0 {
		req.Header.Set("x-ms-range", "bytes="+strconv.FormatInt(offset, 10)+"-")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("read blob: %w", err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		n, err := io.Copy(w, resp.Body)
		if err != nil {
			return n, fmt.Errorf("read blob: %w", err)
		}
		return n, nil
	case http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable:
		return 0, nil
	}
	return 0, fmt.Errorf("read blob: %w", storageError(resp))
}

// BlobItem is one blob of a listing.
type BlobItem struct {
	Name string
	Size int64
}

// ListBlobs yields the blobs of the container that a shared access URL is for.
func (c *Client) ListBlobs(ctx context.Context, sas, prefix string) iter.Seq2[BlobItem, error] {
	return func(yield func(BlobItem, error) bool) {
		marker := ""
		for {
			page, err := c.listPage(ctx, sas, prefix, marker)
			if err != nil {
				yield(BlobItem{}, err)
				return
			}
			for _, b := range page.Blobs {
				if !yield(BlobItem{b.Name, b.Properties.Size}, nil) {
					return
				}
			}
			if marker = page.NextMarker; marker == "" {
				return
			}
		}
	}
}

type blobPage struct {
	Blobs []struct {
		Name       string
		Properties struct {
			Size int64 `xml:"Content-Length"`
		}
	} `xml:"Blobs>Blob"`
	NextMarker string
}

func (c *Client) listPage(ctx context.Context, sas, prefix, marker string) (*blobPage, error) {
	u, err := url.Parse(sas)
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	q := u.Query()
	q.Set("restype", "container")
	q.Set("comp", "list")
	q.Set("prefix", prefix)
	if marker != "" {
		q.Set("marker", marker)
	}
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	req.Header.Set("x-ms-version", storageVersion)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("list blobs: %w", storageError(resp))
	}
	var page blobPage
	if err := xml.NewDecoder(resp.Body).Decode(&page); err != nil {
		return nil, fmt.Errorf("list blobs: decode answer: %w", err)
	}
	return &page, nil
}

// storageError reads an error answer of a storage service.
func storageError(resp *http.Response) *Error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	var doc struct{ Code, Message string }
	if xml.Unmarshal(b, &doc) == nil && doc.Code != "" {
		msg, _, _ := strings.Cut(doc.Message, "\n")
		return &Error{resp.StatusCode, doc.Code, msg}
	}
	return &Error{Status: resp.StatusCode, Code: resp.Header.Get("x-ms-error-code"), Message: http.StatusText(resp.StatusCode)}
}
