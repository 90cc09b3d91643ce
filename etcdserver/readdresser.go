package etcdserver

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"canopy/etcdserver/datadir"
	"canopy/etcdserver/memberlog"
	"canopy/etcdserver/peerlist"
	"canopy/internal/disk"
)

// readdressEvery is the time between looks at how far the list has come.
const readdressEvery = time.Second

// readdresser brings the replicated list up to date with the peer URLs that were given at this
// start: each member proposes its own, once there is a leader. Only the goroutine of run calls
// its methods.
type readdresser struct {
	forced   *peerlist.Forced
	dir      datadir.Dir
	status   *status
	changes  *changes
	log      memberlog.Log
	restored func(context.Context) error
}

func (r *readdresser) run(ctx context.Context) error {
	if r.forced.None() || r.restored(ctx) != nil {
		return nil
	}
	r.status.peers.Update() // records what the list says
	if unknown := r.forced.Unknown(r.status.Members()); len(unknown) > 0 {
		r.log.ForcedUnknown(unknown, r.status.Members())
	}
	tick := time.NewTicker(readdressEvery)
	defer tick.Stop()
	told := error(nil)
	for !r.done() {
		err := r.moveSelf(ctx)
		if err != nil && (told == nil || told.Error() != err.Error()) {
			r.log.NotReaddressed(err)
			told = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	if err := disk.WriteFile(r.dir.FS, readdressed(r.dir), []byte(r.forced.Text()+"\n")); err != nil {
		r.log.ReaddressNotRecorded(err)
	}
	r.log.Readdressed()
	return nil
}

// moveSelf proposes this member's own peer URLs, if the list has others and there is a leader.
func (r *readdresser) moveSelf(ctx context.Context) error {
	own, known := r.status.apply.Present().Members.Members[r.status.self]
	urls := r.forced.Of(own)
	if !known || urls == nil || r.status.Leader() == 0 || slices.Equal(own.PeerURLs, urls) {
		return nil
	}
	if err := r.changes.UpdateMember(ctx, r.status.self, urls); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// done tells whether the list has all that was given.
func (r *readdresser) done() bool {
	for _, info := range r.status.Members() {
		if urls := r.forced.Of(info); urls != nil && !slices.Equal(urls, info.PeerURLs) {
			return false
		}
	}
	return true
}

// refuseForcedAgain leaves out a list that was carried out at an earlier start: members may have moved since.
func refuseForcedAgain(d datadir.Dir, o *Options, logger memberlog.Log) error {
	if len(o.ForcePeerURLs) == 0 {
		return nil
	}
	forced := peerlist.NewForced(o.ForcePeerURLs)
	text, err := disk.ReadFile(d.FS, readdressed(d), readdressedMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &DataDirError{Dir: d.Root, Reason: "cannot read " + readdressed(d), Err: err}
	}
	if strings.TrimSpace(string(text)) == forced.Text() {
		logger.ForcedURLsBefore()
		o.ForcePeerURLs = nil
	}
	return nil
}

// readdressedMax bounds the file of a list that was carried out, in bytes.
const readdressedMax = 1 << 20

// readdressed is the file that records the peer URLs that were forced, and are in the list.
func readdressed(d datadir.Dir) string { return filepath.Join(d.Member(), "readdressed") }
