// Package watch gives the events of a store to those who watch, and keeps the latest of them as history.
//
//	Change     what a command did to one node
//	Event      a change as watchers see it: its JSON is made once, and shared by all
//	Publisher  the writing side, for one goroutine: it makes events and publishes them in batches
//	Hub        the reading side, for any goroutine: it registers watchers, and has the history
//	Watcher    the events of one key, or of all keys at and below it
//
//	Change ──> Publisher.Add ──> Event ──> Publish ──┬──> history ───────────┬──> Watcher.Next
//	                                                 └──> hub ──> its queue ─┘
//
// A watcher gets each of its events once, in order, and none is missing. A publisher never waits for a watcher: one whose
// queue is full reads what it has missed from history. If the history no longer reaches back that far, the watcher ends with
// an error.
package watch

import (
	"errors"
	"fmt"

	"canopy/store/tree"
)

// Limits bound the memory of a hub. The zero value means the defaults.
type Limits struct {
	HistoryEvents int    // most events kept for watches from the past; default 100,000
	HistoryBytes  int64  // most bytes they may take in memory; default 64 MiB
	WatchQueue    int    // events a watcher may lag behind before it has to read them from history; default 128
	Memory        Memory // for the events that watchers have not read yet; default: no bound but WatchQueue
}

// Memory is a budget. It is called under locks, and must return at once.
type Memory interface {
	Try(bytes int64) bool
	Give(bytes int64)
}

// withDefaults replaces what is zero or negative.
func (l Limits) withDefaults() Limits {
	if l.HistoryEvents <= 0 {
		l.HistoryEvents = 100_000
	}
	if l.HistoryBytes <= 0 {
		l.HistoryBytes = 64 << 20
	}
	if l.WatchQueue <= 0 {
		l.WatchQueue = 128
	}
	return l
}

// Options say which events a watcher gets.
type Options struct {
	Recursive bool       // also those below its key (K98)
	Stream    bool       // all of them; otherwise only the first
	Since     tree.Index // those with this index or a later one, from history if they are past (K93); 0: from now on
}

// ErrHistoryLost is why a watcher ends that fell so far behind that the history no longer holds its next event.
var ErrHistoryLost = errors.New("the history no longer reaches back to the next event")

// ErrClosed is why Next fails on a watcher that was closed, or has returned its one event.
var ErrClosed = errors.New("the watcher is closed")

// EndedError is the error of Next once a watcher has ended. A client that watches again from Next misses no event and gets
// none twice, if the history still reaches back there.
type EndedError struct {
	Next  tree.Index // the watcher has missed the events from this index on
	Cause error      // ErrHistoryLost, ErrClosed, or the reason given to Hub.Close
}

// Error says why, and where to go on.
func (e *EndedError) Error() string {
	return fmt.Sprintf("store: watch ended before index %d: %v", e.Next, e.Cause)
}

// Unwrap gives the cause.
func (e *EndedError) Unwrap() error { return e.Cause }

// ClearedError is the error of a watch since an index that the history no longer reaches (K95).
type ClearedError struct {
	Since  tree.Index // Since < Oldest
	Oldest tree.Index // the lowest index from which a watch is possible
	Newest tree.Index // the index of the store
}

// Error names the indexes as the v2 API does (E26).
func (e *ClearedError) Error() string {
	return fmt.Sprintf("the requested history has been cleared [%d/%d]", e.Oldest, e.Since)
}

// reusable empties a scratch slice, so that it keeps nothing alive. It drops a slice that has grown large.
func reusable[T any](s []T) []T {
	const most = 4096
	if cap(s) > most {
		return nil
	}
	clear(s[:cap(s)])
	return s[:0]
}
