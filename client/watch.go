package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// WatchOptions tell what to watch, and from where.
type WatchOptions struct {
	Recursive bool   // also changes below the key
	After     uint64 // index of the last known change, Response.Index of a read; 0: from the first Next on
}

// A Watcher gives the changes of a key one after the other. One goroutine uses it. It need not be closed.
type Watcher struct {
	client    *Client
	key       string
	recursive bool
	after     uint64 // index of the last change that was seen or is known; 0: the position is not known yet
}

// Watch makes a Watcher. It makes no request yet.
func (c *Client) Watch(key string, o WatchOptions) *Watcher {
	return &Watcher{client: c, key: key, recursive: o.Recursive, after: o.After}
}

// After is the position: the index of the last change that was seen or is known.
func (w *Watcher) After() uint64 { return w.after }

// Next waits for the next change. It waits until broken connections and stopped members have recovered, as long as ctx lasts;
// the Watcher can be used after ctx has ended. Its other errors would occur again: an *Error that matches ErrIndexCleared
// means that the servers no longer have all changes for this Watcher, and contains the present Index. Then read the key, and
// Watch after the Index of that read.
func (w *Watcher) Next(ctx context.Context) (*Response, error) {
	for wait := (backoff{}); ; {
		event, err := w.Poll(ctx)
		switch {
		case err == nil:
			return event, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case isFinal(err):
			return nil, err
		}
		if err := wait.pause(ctx); err != nil {
			return nil, err
		}
	}
}

// Poll is Next for callers with their own way to wait: it makes one request for the change after the position, and returns the
// error of that. The next Poll requests the same change, so none is lost.
//
// Requests for single events work correctly with every server; streams do not (K109).
func (w *Watcher) Poll(ctx context.Context) (*Response, error) {
	if w.after == 0 {
		if err := w.begin(ctx); err != nil {
			return nil, err
		}
	}
	q := query{}
	q.flag("wait", true)
	q.flag("recursive", w.recursive)
	q.number("waitIndex", w.after+1)
	event, err := w.client.keys(ctx, call{method: http.MethodGet, path: q.after(w.client.keyPath(w.key))})
	switch {
	case err != nil:
		return nil, err
	case event.Node == nil || event.Node.ModifiedIndex <= w.after:
		return nil, fmt.Errorf("client: watch after %d: %w", w.after, errNotAhead)
	}
	w.after = event.Node.ModifiedIndex
	return event, nil
}

var errNotAhead = errors.New("the server answered with an earlier change")

// begin finds the present end of the history.
func (w *Watcher) begin(ctx context.Context) error {
	header, err := w.client.do(ctx, call{method: http.MethodHead, path: w.client.keyPath(w.key)})
	var said *Error
	switch {
	case err == nil:
		w.after = indexOf(header)
	case errors.As(err, &said) && said.Status == http.StatusNotFound:
		w.after = said.Index // a key that does not exist can be watched
	case errors.As(err, &said) && (said.Status == http.StatusNotImplemented || said.Status == http.StatusBadRequest):
		return w.beginByGet(ctx) // a proxy that refuses HEAD (P35), or a path through a file (K41)
	default:
		return err
	}
	if w.after == 0 {
		return fmt.Errorf("client: watch %s: %w", w.key, errNoIndex)
	}
	return nil
}

var errNoIndex = errors.New("the answer has no X-Etcd-Index")

// beginByGet is begin for servers that need a GET.
func (w *Watcher) beginByGet(ctx context.Context) error {
	found, err := w.client.Get(ctx, w.key, GetOptions{})
	var said *Error
	switch {
	case err == nil:
		w.after = found.Index
	case errors.As(err, &said):
		w.after = said.Index
	}
	if w.after != 0 {
		return nil
	}
	return err
}

// backoff is the pause between tries, which doubles.
type backoff struct{ last time.Duration }

const (
	backoffMin = 20 * time.Millisecond
	backoffMax = 2 * time.Second
)

// pause waits for a half to all of the present time.
func (b *backoff) pause(ctx context.Context) error {
	b.last = min(max(2*b.last, backoffMin), backoffMax)
	timer := time.NewTimer(b.last/2 + rand.N(b.last/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
