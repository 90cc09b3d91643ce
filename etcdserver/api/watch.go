package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"canopy/etcdserver"
	"canopy/etcdserver/api/answer"
	"canopy/etcdserver/auth"
	"canopy/store"
	"canopy/store/watch"
)

var errTooManyWatches = errors.New("etcdserver: too many watches are open")

// watch answers GET with wait=true: it registers a watcher, sends the headers at once (K90), and then one event or, with
// stream=true, all events.
func (h *Handler) watch(w http.ResponseWriter, r *http.Request, c *call) {
	p := &c.params
	h.o.Metrics.WatchRequests.Inc()
	if err := h.watches.enter(); err != nil {
		h.o.Metrics.Refused("watches")
		h.writeKeysError(w, r, err)
		return
	}
	watcher, err := h.member.Watch(c.key, watch.Options{
		Recursive: p.Recursive,
		Stream:    p.Stream,
		Since:     store.Index(p.WaitIndex),
	})
	if err != nil {
		h.watches.leave()
		h.writeKeysError(w, r, err)
		return
	}
	open := &openWatch{access: c.access, watcher: watcher}
	open.right, open.key, open.recursive = auth.Read, c.raw, p.Recursive // also if they did not matter yet
	h.watches.add(open)
	if s := h.member.Auth(); s.Enabled() && s.Revision() != open.from.Revision && (open.check(s, int64(h.member.Now())) != nil || open.isStale(s)) {
		watcher.Close() // it came just before the change, which has not found it
	}
	h.answers.PutPositions(w.Header(), watcher.StartIndex())
	if h.startStream(w, r, open, !p.Stream) {
		return // the stream closes the watcher, and calls drop
	}
	defer h.watches.drop(open)
	defer watcher.Close()
	h.deliver(w, r, watcher, p.Stream)
}

// deliver sends events through net/http, over HTTP/2 or HTTP/1.0.
func (h *Handler) deliver(w http.ResponseWriter, r *http.Request, watcher *watch.Watcher, stream bool) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // no time-out ends a watch (K111)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(h.watching, cancel)()
	w.WriteHeader(http.StatusOK)
	for control.Flush() == nil {
		event, err := watcher.Next(ctx)
		if err != nil {
			w.Write(h.lastLine(err))
			return
		}
		if err := h.writeEvent(w, control, event); err != nil || !stream {
			return
		}
	}
}

// writeEvent gives the client its time to read an event.
func (h *Handler) writeEvent(w http.ResponseWriter, control *http.ResponseController, event *watch.Event) error {
	json := event.JSON()
	if len(json) > answer.FreeBytes {
		return h.answers.Pieces(w, json)
	}
	_ = control.SetWriteDeadline(time.Now().Add(h.o.WriteTimeout))
	_, err := w.Write(json)
	return err
}

// lastLine is the end of a watch: an error in shape A if history no longer reaches back to its index (K110, K114), and
// nothing if the client left or the server stops (K113).
func (h *Handler) lastLine(err error) []byte {
	var ended *watch.EndedError
	if !errors.As(err, &ended) || !errors.Is(err, watch.ErrHistoryLost) {
		return nil
	}
	oldest, newest := h.member.HistoryRange()
	cause := fmt.Sprintf("the requested history has been cleared [%d/%d]", oldest, ended.Next)
	return appendKeysError(nil, &store.Error{Code: store.CodeHistoryCleared, Cause: cause, Index: newest})
}

// A watchSet counts the watches that are open.
type watchSet struct {
	max int // set before use

	// mu guards the fields below, for the length of one method.
	mu     sync.Mutex
	open   int
	own    map[*openWatch]struct{} // of them, those that have a watcher
	closed bool
	empty  chan struct{} // closed when the set is closed and open is 0
}

// enter counts one more watch, unless there are too many or the set is closed. Each enter needs a leave.
func (s *watchSet) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return etcdserver.ErrStopped
	case s.open >= s.max:
		return errTooManyWatches
	}
	s.open++
	return nil
}

// openWatch is a watch, and who has it.
type openWatch struct {
	access
	watcher *watch.Watcher
}

// add makes a watch that has entered known.
func (s *watchSet) add(w *openWatch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own == nil {
		s.own = map[*openWatch]struct{}{}
	}
	s.own[w] = struct{}{}
}

// drop undoes add and enter.
func (s *watchSet) drop(w *openWatch) {
	s.mu.Lock()
	delete(s.own, w)
	s.mu.Unlock()
	s.leave()
}

// all lists those that were added.
func (s *watchSet) all() []*openWatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.own))
}

func (s *watchSet) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if s.closed && s.open == 0 {
		close(s.empty)
	}
}

// close refuses further watches. The channel is closed when all have left.
func (s *watchSet) close() (empty <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.empty = make(chan struct{})
		if s.open == 0 {
			close(s.empty)
		}
	}
	return s.empty
}
