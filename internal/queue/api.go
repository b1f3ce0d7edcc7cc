package queue

import (
	"maps"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The methods in this file are for the rest of Azimuth. They authorise nobody:
// the caller has decided that already. account is the UID of an account.

// Queue is a queue as others see it.
type Queue struct {
	Name     string
	Metadata map[string]string
	// Messages counts those that are not deleted.
	Messages int
}

// QueueIn returns a queue, nil if there is none of the name.
func (s *Service) QueueIn(tx store.Tx, account, name string) (*Queue, error) {
	q, err := storage.Load[queueRec](tx, bucketQueues, account+"/"+name)
	if err != nil || q == nil {
		return nil, err
	}
	return &Queue{Name: q.Name, Metadata: q.Metadata, Messages: q.Messages}, nil
}

// QueuesIn returns up to limit queues behind the name after, in the order of
// their names.
func (s *Service) QueuesIn(tx store.Tx, account, after string, limit int) ([]Queue, error) {
	list, _, err := listIn(tx, account, "", after, limit)
	out := make([]Queue, 0, len(list))
	for _, q := range list {
		out = append(out, Queue{Name: q.Name, Metadata: q.Metadata, Messages: q.Messages})
	}
	return out, err
}

// PutQueueIn makes a queue or changes the metadata of the one there is.
func (s *Service) PutQueueIn(tx store.Tx, account string, in Queue) error {
	q, err := storage.Load[queueRec](tx, bucketQueues, account+"/"+in.Name)
	if err != nil {
		return err
	}
	if q == nil {
		_, err := createIn(tx, account, in.Name, maps.Clone(in.Metadata))
		return err
	}
	q.Metadata = maps.Clone(in.Metadata)
	return storage.Save(tx, bucketQueues, account+"/"+in.Name, q)
}

// DeleteQueueIn removes a queue with its messages. Removing none is not an error.
func (s *Service) DeleteQueueIn(tx store.Tx, account, name string) error {
	err := removeIn(tx, account, name)
	if storage.HasCode(err, "QueueNotFound") {
		return nil
	}
	return err
}
