package etcdserver

import "time"

// Observer is told what operators measure. Every field may be nil. The
// functions are called from the member's loops and must return at once.
type Observer struct {
	Synced        func(d time.Duration, lastIndex uint64) // a sync of the log
	Applied       func(entries int, d time.Duration)      // a batch was applied and published
	SnapshotSaved func(bytes int64, d time.Duration)      // a snapshot is on disk
	Proposed      func(d time.Duration, err error)        // a request was answered
	Waiting       func(n int)                             // requests that wait, ten times a second
	LeaderChanged func(leader ID, self bool)              // also to 0: no leader
	Space         func(full bool)                         // the disk is full, or has room again
	Installed     func(bytes int64)                       // a leader's snapshot replaced the state
	Refused       func()                                  // raft refused a message
	Unusable      func()                                  // a snapshot could not be loaded, and was put aside
}

func (o *Observer) snapshotUnusable() {
	if o.Unusable != nil {
		o.Unusable()
	}
}
