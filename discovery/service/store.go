package service

import (
	"context"
	"errors"
	"net/http"
	"time"

	"canopy/client"
)

// registryPath is the directory of tokens (D30).
const registryPath = "/v2/keys/_etcd/registry/"

// Bounds of an exchange with the store.
const (
	storeTimeout = 10 * time.Second
	answerMax    = 4 << 20 // bytes; far more than a token can have
)

// store is the v2 cluster behind the service, for its own requests.
type store struct {
	keys *client.Client // of the registry
}

func newStore(door http.RoundTripper) store {
	keys, err := client.New(client.Config{Endpoints: []string{"http://" + storeHost}, KeysPath: registryPath, Transport: door, AnswerBytes: answerMax})
	if err != nil {
		panic(err) // the configuration is constant
	}
	return store{keys}
}

// create makes a token with a size. It makes the directory first, so that the token
// has a TTL in any case.
func (s store) create(ctx context.Context, token, size string, ttl time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if ttl > 0 {
		if _, err := s.keys.Set(ctx, token, "", client.SetOptions{Dir: true, PrevExist: client.Never, TTL: ttl}); err != nil {
			return err
		}
	}
	_, err := s.keys.Set(ctx, token+"/_config/size", size, client.SetOptions{PrevExist: client.Never})
	return err
}

// remove deletes a token.
func (s store) remove(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	_, err := s.keys.Delete(ctx, token, client.DeleteOptions{Recursive: true})
	return err
}

// refresh renews a token's TTL. A wait under the token does not end by it.
func (s store) refresh(ctx context.Context, token string, ttl time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	_, err := s.keys.Set(ctx, token, "", client.SetOptions{Dir: true, PrevExist: client.Must, Refresh: true, TTL: ttl})
	return err
}

// list gives a token, with its registrations.
func (s store) list(ctx context.Context, token string) (*client.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	r, err := s.keys.Get(ctx, token, client.GetOptions{Quorum: true})
	if err == nil && r.Node == nil {
		err = errors.New("the store gives no node")
	}
	if err != nil {
		return nil, err
	}
	return r.Node, nil
}
