package blob

import (
	"context"
	"fmt"
	"io"
	"iter"
)

// The methods in this file are for the rest of Azimuth. They authorise nobody:
// the caller has decided that already.

func (s *Service) account(ctx context.Context, name string) (*Account, error) {
	a, err := s.cfg.Accounts.Account(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("find storage account %s: %w", name, err)
	}
	return a, nil
}

func (s *Service) locate(ctx context.Context, account, container, name string) (ref, error) {
	a, err := s.account(ctx, account)
	if err != nil {
		return ref{}, err
	}
	if err := checkContainerName(container); err != nil {
		return ref{}, err
	}
	if err := checkBlobName(name); err != nil {
		return ref{}, err
	}
	return ref{uid: a.UID, container: container, name: name}, nil
}

// EnsureContainer makes a private container unless it is there.
func (s *Service) EnsureContainer(ctx context.Context, account, container string) error {
	a, err := s.account(ctx, account)
	if err != nil {
		return err
	}
	if err := checkContainerName(container); err != nil {
		return err
	}
	if _, err := s.eng.container(ctx, a.UID, container); !HasCode(err, "ContainerNotFound") {
		return err
	}
	if _, err = s.eng.createContainer(ctx, a.UID, &containerRec{Name: container, Tree: a.HNS}); HasCode(err, "ContainerAlreadyExists") {
		return nil
	}
	return err
}

// PutBlob makes a block blob of all of r, replacing what is there.
func (s *Service) PutBlob(ctx context.Context, account, container, name string, r io.Reader, h Headers) (*Properties, error) {
	at, err := s.locate(ctx, account, container, name)
	if err != nil {
		return nil, err
	}
	in, err := s.eng.files.take(r, maxPutBlob, true)
	if err != nil {
		return nil, fmt.Errorf("put blob %s: %w", name, err)
	}
	if h.ContentType == "" {
		h.ContentType = "application/octet-stream"
	}
	h.ContentMD5 = in.md5
	b, err := s.eng.put(ctx, at, in, func(*blobRec) (*blobRec, error) {
		return &blobRec{Type: BlockBlob, Headers: h}, nil
	})
	if err != nil {
		return nil, err
	}
	return b.properties(name), nil
}

// AppendBlob adds p to the end of an append blob and makes the blob, of type
// text/plain, when it is not there. When it returns, p is durable.
func (s *Service) AppendBlob(ctx context.Context, account, container, name string, p []byte) (*Properties, error) {
	at, err := s.locate(ctx, account, container, name)
	if err != nil {
		return nil, err
	}
	always := func(*blobRec) error { return nil }
	for {
		in := &intake{size: int64(len(p)), inline: p}
		b, _, err := s.eng.append(ctx, at, in, always)
		if err == nil {
			return b.properties(name), nil
		}
		if !HasCode(err, "BlobNotFound") {
			return nil, err
		}
		_, err = s.eng.put(ctx, at, &intake{}, func(old *blobRec) (*blobRec, error) {
			if old != nil {
				return nil, refuse("BlobAlreadyExists")
			}
			return &blobRec{Type: AppendBlob, Headers: Headers{ContentType: "text/plain"}}, nil
		})
		if err != nil && !HasCode(err, "BlobAlreadyExists") {
			return nil, err
		}
	}
}

// OpenBlob opens a blob for reading, as it is now. The reader must be closed and
// is good until ctx ends.
func (s *Service) OpenBlob(ctx context.Context, account, container, name string) (*Reader, *Properties, error) {
	at, err := s.locate(ctx, account, container, name)
	if err != nil {
		return nil, nil, err
	}
	b, rd, err := s.eng.open(ctx, at)
	if err != nil {
		return nil, nil, err
	}
	return rd, b.properties(name), nil
}

// StatBlob describes a blob.
func (s *Service) StatBlob(ctx context.Context, account, container, name string) (*Properties, error) {
	at, err := s.locate(ctx, account, container, name)
	if err != nil {
		return nil, err
	}
	b, err := s.eng.stat(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("stat blob %s: %w", name, err)
	}
	return b.properties(name), nil
}

// DeleteBlob deletes a blob. One that is not there is an error with the code
// BlobNotFound.
func (s *Service) DeleteBlob(ctx context.Context, account, container, name string) error {
	at, err := s.locate(ctx, account, container, name)
	if err != nil {
		return err
	}
	_, err = s.eng.remove(ctx, at, includeSnapshots, func(*blobRec) error { return nil })
	return err
}

// ListBlobs yields the blobs whose names begin with prefix, in name order, without
// the directories of a hierarchical namespace. The list is read page by page;
// blobs that change meanwhile may be in it or not.
func (s *Service) ListBlobs(ctx context.Context, account, container, prefix string) iter.Seq2[*Properties, error] {
	return func(yield func(*Properties, error) bool) {
		a, err := s.account(ctx, account)
		if err != nil {
			yield(nil, err)
			return
		}
		q := listQuery{Prefix: prefix, Max: 1000, FilesOnly: true}
		for {
			items, next, err := s.eng.list(ctx, ref{uid: a.UID, container: container}, q)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, it := range items {
				if !yield(it.Blob.properties(it.Name), nil) {
					return
				}
			}
			if next == "" {
				return
			}
			q.After = next
		}
	}
}

// DeleteContainer deletes a container with its blobs. One that is not there is
// an error with the code ContainerNotFound.
func (s *Service) DeleteContainer(ctx context.Context, account, container string) error {
	a, err := s.account(ctx, account)
	if err != nil {
		return err
	}
	return s.eng.deleteContainer(ctx, a.UID, container, func(*containerRec) error { return nil })
}

// RevokeUserDelegationKeys makes every user delegation key of the account
// instance void, and so every SAS signed with one.
func (s *Service) RevokeUserDelegationKeys(ctx context.Context, uid string) error {
	return s.auth.RevokeUserDelegationKeys(ctx, uid)
}

func (b *blobRec) properties(name string) *Properties {
	return &Properties{
		Name: name, Type: b.Type, Size: b.Size, ETag: etagString(b.ETag),
		Created: unixTime(b.Created), Modified: unixTime(b.Modified),
		CommittedBlocks: b.appends(), Headers: b.Headers,
	}
}

func (b *blobRec) appends() int {
	if b.Type == AppendBlob {
		return b.Blocks
	}
	return 0
}
