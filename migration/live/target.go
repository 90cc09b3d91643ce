package live

import (
	"context"
	"errors"
	"strings"
	"time"

	"canopy/client"
)

// Target takes the keys of a mirror. Each method may be called again with the same arguments.
type Target interface {
	// Put writes a file, or makes a directory. A ttl of 0 is none.
	Put(ctx context.Context, n *client.Node, ttl time.Duration) error
	// Delete removes a file, or a directory with all below it, if it is there.
	Delete(ctx context.Context, key string, dir bool) error
	// Keys tells what is at and below a key; true: a directory.
	Keys(ctx context.Context, root string) (map[string]bool, error)
}

// V2 is a canopy, or an etcd with the v2 API.
type V2 struct{ Client *client.Client }

// Put implements Target.
func (t V2) Put(ctx context.Context, n *client.Node, ttl time.Duration) error {
	if !n.Dir {
		_, err := t.Client.Set(ctx, n.Key, n.Value, client.SetOptions{TTL: ttl, Brief: true})
		return err
	}
	_, err := t.Client.Set(ctx, n.Key, "", client.SetOptions{TTL: ttl, Dir: true}) // in place of a file
	if !errors.Is(err, client.ErrNotFile) {
		return err
	}
	_, err = t.Client.Set(ctx, n.Key, "", client.SetOptions{TTL: ttl, PrevExist: client.Must}) // the directory is there: its TTL
	return err
}

// Delete implements Target.
func (t V2) Delete(ctx context.Context, key string, dir bool) error {
	_, err := t.Client.Delete(ctx, key, client.DeleteOptions{Recursive: dir})
	if errors.Is(err, client.ErrKeyNotFound) {
		return nil
	}
	return err
}

// Keys implements Target.
func (t V2) Keys(ctx context.Context, root string) (map[string]bool, error) {
	there, err := listing(ctx, t.Client, root)
	keys := map[string]bool{}
	for key, n := range there {
		keys[key] = n.Dir
	}
	return keys, err
}

// V3 is an etcd v3, by its JSON gateway: keys are full paths, directories are left out, and a TTL is a lease.
type V3 struct{ Client *client.Client }

// Put implements Target.
func (t V3) Put(ctx context.Context, n *client.Node, ttl time.Duration) error {
	if n.Dir {
		return nil
	}
	put := struct {
		Key   []byte `json:"key"`
		Value []byte `json:"value"`
		Lease string `json:"lease,omitempty"`
	}{Key: []byte(n.Key), Value: []byte(n.Value)}
	if ttl > 0 {
		var lease struct{ ID string }
		grant := struct {
			TTL int64 `json:"TTL"`
		}{int64((ttl + time.Second - 1) / time.Second)}
		if err := t.Client.Gateway(ctx, "/v3/lease/grant", grant, &lease); err != nil {
			return err
		}
		put.Lease = lease.ID
	}
	return t.Client.Gateway(ctx, "/v3/kv/put", put, &struct{}{})
}

// interval is keys from one on, to before another one; the second may be left out.
type interval struct {
	Key      []byte `json:"key"`
	RangeEnd []byte `json:"range_end,omitempty"`
	KeysOnly bool   `json:"keys_only,omitempty"`
	Limit    int    `json:"limit,omitempty"`
}

// below is the interval of all keys below one.
func below(key string) interval {
	key = strings.TrimSuffix(key, "/")
	return interval{Key: []byte(key + "/"), RangeEnd: []byte(key + "0")} // 0 follows /
}

// Delete implements Target.
func (t V3) Delete(ctx context.Context, key string, dir bool) error {
	what := interval{Key: []byte(key)}
	if dir {
		what = below(key)
	}
	return t.Client.Gateway(ctx, "/v3/kv/deleterange", what, &struct{}{})
}

// page is how many keys are asked for at once.
const page = 5000

// Keys implements Target.
func (t V3) Keys(ctx context.Context, root string) (map[string]bool, error) {
	keys := map[string]bool{}
	what := below(root)
	what.KeysOnly, what.Limit = true, page
	for {
		var answer struct {
			KVs []struct {
				Key []byte `json:"key"`
			} `json:"kvs"`
			More bool `json:"more"`
		}
		if err := t.Client.Gateway(ctx, "/v3/kv/range", what, &answer); err != nil {
			return nil, err
		}
		for _, kv := range answer.KVs {
			keys[string(kv.Key)] = false
		}
		if !answer.More || len(answer.KVs) == 0 {
			return keys, nil
		}
		what.Key = append(answer.KVs[len(answer.KVs)-1].Key, 0)
	}
}
