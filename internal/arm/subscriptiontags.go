package arm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// taggedSubscription is the subscription with its tags.
func (k *Kernel) taggedSubscription(ctx context.Context) (Doc, error) {
	var doc Doc
	err := k.cfg.Store.View(ctx, func(tx store.Tx) (err error) {
		doc, err = k.subscriptionIn(tx)
		return err
	})
	return doc, err
}

func (k *Kernel) subscriptionIn(tx store.Tx) (Doc, error) {
	doc := k.subscription()
	tags, err := k.SubscriptionTags(tx)
	if len(tags) > 0 {
		doc["tags"] = map[string]any(tags)
	}
	return doc, err
}

const subscriptionTagBucket = "subscriptionTags"

// SubscriptionTags are the tags of the subscription itself.
func (k *Kernel) SubscriptionTags(tx store.Tx) (Doc, error) {
	b, err := tx.Get(subscriptionTagBucket, k.cfg.Subscription)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var tags Doc
	return tags, json.Unmarshal(b, &tags)
}

// SetSubscriptionTags replaces the tags of the subscription.
func (k *Kernel) SetSubscriptionTags(tx store.Tx, tags Doc) error {
	b, err := json.Marshal(tags)
	if err != nil {
		return fmt.Errorf("encode tags: %w", err)
	}
	return tx.Put(subscriptionTagBucket, k.cfg.Subscription, b)
}
