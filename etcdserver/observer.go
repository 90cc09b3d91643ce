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

func (o *Observer) synced(d time.Duration, last uint64) {
	if o.Synced != nil {
		o.Synced(d, last)
	}
}

func (o *Observer) applied(entries int, d time.Duration) {
	if o.Applied != nil {
		o.Applied(entries, d)
	}
}

func (o *Observer) snapshotSaved(bytes int64, d time.Duration) {
	if o.SnapshotSaved != nil {
		o.SnapshotSaved(bytes, d)
	}
}

func (o *Observer) proposed(d time.Duration, err error) {
	if o.Proposed != nil {
		o.Proposed(d, err)
	}
}

func (o *Observer) waiting(n int) {
	if o.Waiting != nil {
		o.Waiting(n)
	}
}

func (o *Observer) leaderChanged(leader ID, self bool) {
	if o.LeaderChanged != nil {
		o.LeaderChanged(leader, self)
	}
}

func (o *Observer) space(full bool) {
	if o.Space != nil {
		o.Space(full)
	}
}

func (o *Observer) installed(bytes int64) {
	if o.Installed != nil {
		o.Installed(bytes)
	}
}

func (o *Observer) refused() {
	if o.Refused != nil {
		o.Refused()
	}
}

func (o *Observer) snapshotUnusable() {
	if o.Unusable != nil {
		o.Unusable()
	}
}
