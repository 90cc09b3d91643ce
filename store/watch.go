package store

import (
	"errors"

	"canopy/store/watch"
)

// Watch registers a watcher, of a key where no node needs to be (K91). If the history no longer reaches back to o.Since, the
// error is an *Error with CodeHistoryCleared; after CloseWatchers it is a *watch.EndedError. The caller must Close the
// watcher.
func (s *Store) Watch(k Key, o watch.Options) (*watch.Watcher, error) {
	w, err := s.hub.Watch(k.clean, o)
	if err == nil {
		return w, nil
	}
	var cleared *watch.ClearedError
	if errors.As(err, &cleared) {
		return nil, &Error{Code: CodeHistoryCleared, Cause: cleared.Error(), Index: cleared.Newest} // K95, E26
	}
	return nil, err
}

// CloseWatchers ends all watchers, each after the events in its queue, and refuses new ones.
func (s *Store) CloseWatchers(reason error) { s.hub.Close(reason) }

// Watchers is the number of watchers that are open on this member.
func (s *Store) Watchers() int { return s.hub.Watchers() }

// HistoryRange returns the lowest index from which a watch is possible, and the store index. Every event from oldest on is
// held. Refreshes and internal mutations have none.
func (s *Store) HistoryRange() (oldest, newest Index) {
	h := s.hub.History()
	return h.Oldest(), h.Newest()
}

// DeferEvents makes Apply return nil for the event, until the next Publish. It is for a store that nobody looks at yet.
func (s *Store) DeferEvents() { s.events.Defer() }
