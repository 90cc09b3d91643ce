// Package memberlog has the lines that a member logs: what operators look for, in one place, so that the words and
// levels can be read as a whole. The words after the package's name are those of the reference (F30).
package memberlog

import (
	"fmt"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/etcdserver/auth"
	"canopy/etcdserver/consistency"
	"canopy/etcdserver/replica"
	"canopy/raft"
)

// Log writes the lines. Any goroutine may call its methods.
type Log struct {
	entry *logrus.Entry
	title func(replica.ID) string // names another member; nil: by its id alone
}

// lastedFor is the part of a line that says how long a condition has lasted.
func lastedFor(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf(", for %v", d)
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// name is how log lines call a member.
func (l Log) name(id replica.ID) string {
	if l.title == nil {
		return id.String()
	}
	return l.title(id)
}

// Early is the log of a member that has not found out who it is.
func Early(l *logrus.Logger) Log { return Log{entry: logrus.NewEntry(l)} }

// New is the log of a member of a cluster.
func New(l *logrus.Logger, self, cluster replica.ID, title func(replica.ID) string) Log {
	return Log{title: title, entry: l.WithFields(logrus.Fields{"pkg": "etcdserver", "member": self.String(), "cluster": cluster.String()})}
}

// Starting logs how new the log is. After the loss of a cluster, operators compare the members by that.
func (l Log) Starting(self, cluster replica.ID, fresh bool, s raft.Status) {
	how := "restarting"
	if fresh {
		how = "starting"
	}
	l.entry.Infof("%s member %v in cluster %v at commit index %d, last entry %d of term %d", how, self, cluster, s.Commit, s.Last, s.LastTerm)
}

// UsersEnabled is logged when requests are checked from now on.
func (l Log) UsersEnabled(guest *auth.Role) {
	if guest == nil || len(guest.Read)+len(guest.Write) == 0 {
		l.entry.Info("users are enabled: requests without credentials may do nothing with keys")
		return
	}
	l.entry.Warnf("users are enabled, and requests without credentials may still read %q and write %q: revoke that from the role guest",
		guest.Read, guest.Write)
}

// UsersRecovered is logged when --auth-recovery has done its work.
func (l Log) UsersRecovered() {
	l.entry.Error("--auth-recovery: users are disabled, EVERYBODY may do everything: set the password of root, enable users, and remove the flag")
}

// UsersNotRecovered is logged for each try that fails.
func (l Log) UsersNotRecovered(err error) {
	l.entry.WithError(err).Warn("--auth-recovery: users could not be disabled; trying again")
}

// UsersDisabled is logged when requests are not checked any more.
func (l Log) UsersDisabled() {
	l.entry.Warn("users are disabled: everybody who reaches the client port may do everything")
}

// Recovered is logged when a start has read a snapshot.
func (l Log) Recovered(index raft.Index) {
	l.entry.Infof("recovered store from snapshot at index %d", index)
}

// SnapshotPutAside is logged when a start finds a snapshot that does not load.
func (l Log) SnapshotPutAside(file string, err error) {
	l.entry.WithError(err).Errorf("snapshot %s cannot be loaded and was put aside as .broken; an older state and the log since then were used instead", file)
}

// MemberChanged logs a change of the list when it is applied.
func (l Log) MemberChanged(c *replica.Change, self, cluster replica.ID) {
	switch c.Op {
	case raft.AddVoter, raft.AddLearner:
		l.MemberAdded(c.Member, self, cluster)
	case raft.UpdateContext:
		if c.Known {
			l.MemberUpdated(c.Member)
		}
	case raft.Promote:
		l.Promoted(c.Member.ID)
	case raft.Remove:
		l.MemberRemoved(c.Member.ID, c.Member.About(), cluster)
	}
}

// MemberAdded is logged when an entry adds a member.
func (l Log) MemberAdded(m replica.MemberInfo, self, cluster replica.ID) {
	which := "member"
	if m.ID == self {
		which = "local member"
	}
	text := fmt.Sprintf("added %s %v [%s] to cluster %v", which, m.ID, strings.Join(m.PeerURLs, " "), cluster)
	if m.Name != "" {
		text += ", name " + m.Name
	}
	l.entry.Info(text)
}

// Serving is logged at each start, with the cluster version as far as it is known.
func (l Log) Serving(apiVersion, clusterVersion string) {
	if clusterVersion == "" {
		clusterVersion = "to_be_decided"
	}
	l.entry.Infof("starting server... [version: %s, cluster version: %s]", apiVersion, clusterVersion)
}

// Elected is logged when there is a leader.
func (l Log) Elected(leader, self replica.ID, term raft.Term) {
	l.entry.Infof("raft.node: %v elected leader %v at term %d: %s leads", self, leader, term, l.name(leader))
}

// Role logs each step of an election.
func (l Log) Role(role raft.Role, leader replica.ID, term raft.Term) {
	name := "unknown"
	if leader != 0 {
		name = l.name(leader)
	}
	l.entry.Debugf("raft: this member is %v at term %d, the leader is %s", role, term, name)
}

// SlowApply is logged when a batch of entries takes long.
func (l Log) SlowApply(entries int, took time.Duration) {
	l.entry.Debugf("applying %d entries took %v", entries, took)
}

// SlowRequest is logged when a request has waited long.
func (l Log) SlowRequest(id uint64, took time.Duration, err error) {
	l.entry.WithError(err).Debugf("request %x waited %v for its entry", id, took)
}

// SnapshotSending implements transfer.Events.
func (l Log) SnapshotSending(to replica.ID, index raft.Index) {
	l.entry.Debugf("sending a snapshot at index %d or later to member %s", index, l.name(to))
}

// SlowDisk is logged when syncs of the log are slow, and each minute.
func (l Log) SlowDisk(lasted, slowest time.Duration) {
	l.entry.Warnf("the disk is slow%s: a sync of the log took %v, longer than the election time-out; see etcd_disk_wal_fsync_duration_seconds", lastedFor(lasted), slowest.Round(time.Millisecond))
}

// FastAgain ends SlowDisk.
func (l Log) FastAgain(lasted time.Duration) {
	l.entry.Infof("the disk is fast again, after %v: no sync of the log was slow for a minute", lasted)
}

// Resigned logs that a leader has ended its term in good order.
func (l Log) Resigned(leader, self replica.ID, term raft.Term) {
	l.entry.Infof("raft.node: %v lost leader %v at term %d: %s no longer leads", self, leader, term, l.name(leader))
}

// LostLeader is logged when this member hears nothing of the leader any more.
func (l Log) LostLeader(leader, self replica.ID, term raft.Term, silent time.Duration, r fmt.Stringer) {
	l.entry.Warnf("raft.node: %v lost leader %v at term %d: %s was cut off for %v; %v", self, leader, term, l.name(leader), silent.Round(time.Millisecond), r)
}

// Leaderless is logged while there is no leader, each minute.
func (l Log) Leaderless(lasted time.Duration, r fmt.Stringer) {
	l.entry.Warnf("there is no leader%s: %v; writes and quorum reads wait for one, and time out", lastedFor(lasted), r)
}

// LedAgain ends Leaderless.
func (l Log) LedAgain(lasted time.Duration, leader string) {
	l.entry.Infof("there is a leader again, after %v: %s leads", lasted, leader)
}

// Unreachable is logged when a member cannot be reached, and each minute.
func (l Log) Unreachable(member string, lasted time.Duration, err error) {
	l.entry.Warnf("member %s is not reachable%s%s", member, lastedFor(lasted), reason(err))
}

// Reachable ends Unreachable.
func (l Log) Reachable(member string, lasted time.Duration) {
	l.entry.Infof("member %s is reachable again, after %v", member, lasted)
}

// Published is logged when the cluster has the name and the client URLs of this member: it serves now.
func (l Log) Published(name string, clientURLs []string, cluster replica.ID) {
	l.entry.Infof("etcdserver: published {Name:%s ClientURLs:[%s]} to cluster %v", name, strings.Join(clientURLs, " "), cluster)
}

// Unpublished is logged while it has not, each minute.
func (l Log) Unpublished(lasted time.Duration, err error, r fmt.Stringer) {
	l.entry.WithError(err).Warnf("publish error%s: the cluster has not taken this member's name and client URLs, and it is tried again: %v", lastedFor(lasted), r)
}

// SnapshotSaved is logged when a snapshot is on disk and was read back.
func (l Log) SnapshotSaved(index raft.Index) {
	l.entry.Infof("saved snapshot at index %d", index)
}

// SnapshotFailed implements snapshotter.Events.
func (l Log) SnapshotFailed(index raft.Index, err error) {
	l.entry.WithError(err).Errorf("could not save a snapshot at index %d; the log is kept, and it is tried again", index)
}

// SnapshotUnusable is logged when a snapshot that was written does not load.
func (l Log) SnapshotUnusable(index raft.Index, err error) {
	l.entry.WithError(err).Errorf("the snapshot that was saved at index %d cannot be loaded and was put aside as .broken; older snapshots and the log are kept, and the log grows until a snapshot is good: report this, and watch the free space of the disk", index)
}

// SpoiledOnArrival is logged when the snapshot of a leader does not load.
func (l Log) SpoiledOnArrival(index raft.Index, err error) {
	l.entry.WithError(err).Errorf("the snapshot that the leader sent for index %d cannot be loaded and was put aside as .broken; nothing was changed", index)
}

// Full is logged when the disk is full, and each minute.
func (l Log) Full(lasted time.Duration) {
	l.entry.Errorf("the disk is full%s: writes are refused, reads, deletes and expiry go on, until there is room", lastedFor(lasted))
}

// RoomAgain ends Full.
func (l Log) RoomAgain(lasted time.Duration) {
	l.entry.Infof("there is room on the disk again, after %v: writes are accepted", lasted)
}

// Tightened is logged when the mode of a directory was changed.
func (l Log) Tightened(dir string) {
	l.entry.Warnf("others could read %s: its mode is now 0700", dir)
}

// Strange is logged for files that do not belong into the data directory.
func (l Log) Strange(dir string, names []string) {
	for _, name := range names {
		l.entry.Warnf("found invalid file/dir %s under data dir %s (it is ignored)", name, dir)
	}
}

// MemberUpdated is logged when an entry changes the peer URLs of a member.
func (l Log) MemberUpdated(m replica.MemberInfo) {
	l.entry.Infof("updated member %v: its peer URLs are %s now", m.ID, strings.Join(m.PeerURLs, " "))
}

// MemberRemoved is logged when an entry removes a member.
func (l Log) MemberRemoved(id replica.ID, about string, cluster replica.ID) {
	l.entry.Infof("removed member %v from cluster %v: %s", id, cluster, about)
}

// Promoted is logged when a learner becomes a voter.
func (l Log) Promoted(id replica.ID) {
	l.entry.Infof("member %s has caught up and is a voter now", l.name(id))
}

// SameName is logged when two members have one name.
func (l Log) SameName(name string, id, other replica.ID) {
	l.entry.Warnf("members %v and %v have the same name %q", id, other, name)
}

// Removed is logged when this member finds that it was removed.
func (l Log) Removed(index raft.Index) {
	l.entry.Errorf("the member has been permanently removed from the cluster (by entry %d)", index)
	l.entry.Info("the data-dir used by this member must be removed.")
}

// EndNotRecorded is logged when that cannot be stored.
func (l Log) EndNotRecorded(err error) {
	l.entry.WithError(err).Warn("could not record in the data directory that the member must not run again; it learns this again at the next start")
}

// Differs implements consistency.Events.
func (l Log) Differs(d consistency.Difference, differs bool) {
	if differs {
		l.entry.Errorf("the state of member %s at index %d differs from that of this member: one of them is damaged", l.name(d.Member), d.Index)
		return
	}
	l.entry.Infof("the state of member %s is that of this member again, or the member was removed", l.name(d.Member))
}

// LeadershipYielded implements raftloop.Events.
func (l Log) LeadershipYielded() {
	l.entry.Warn("the disk is full: leadership is handed over to another member")
}

// Named is logged when another member reports members that the log does not have yet.
func (l Log) Named(by replica.ID, peers []replica.MemberInfo) {
	for _, info := range peers {
		l.entry.Infof("member %s reports member %s, which is not in the log of this member yet", l.name(by), info.Title())
	}
}

// Doubted is logged when another member wrongly reports that this one was removed.
func (l Log) Doubted(by replica.ID, index raft.Index) {
	l.entry.Warnf("ignored the report of member %s that entry %d removed this member: the entry was applied here, and did not", l.name(by), index)
}

// MessageRefused is logged when raft refuses a message.
func (l Log) MessageRefused(err error) {
	l.entry.WithError(err).Debug("a message from another member was refused") // counted: canopy_raft_refused_total
}

// BadEnvelope is logged when an envelope cannot be read.
func (l Log) BadEnvelope(from replica.ID, err error) {
	l.entry.WithError(err).Warnf("an envelope from member %s, or a request in it, was refused", l.name(from))
}

// ChangeUnreadable implements raftloop.Events.
func (l Log) ChangeUnreadable(from replica.ID, err error) {
	l.entry.WithError(err).Warnf("a membership change from member %s cannot be read", l.name(from))
}

// PeerURLTaken implements raftloop.Events.
func (l Log) PeerURLTaken(owner replica.ID, urls []string) {
	l.entry.Warnf("a membership change was refused: member %s has one of the peer URLs %s", l.name(owner), strings.Join(urls, " "))
}

// RiskyChange implements raftloop.Events.
func (l Log) RiskyChange(err error) {
	l.entry.WithError(err).Warn("a membership change that endangers the quorum is made, since --strict-reconfig-check is off")
}

// Installed is logged when the snapshot of a leader has replaced the state.
func (l Log) Installed(index raft.Index) {
	l.entry.Infof("recovered from incoming snapshot at index %d", index)
}

// SnapshotNotSent implements transfer.Events.
func (l Log) SnapshotNotSent(to replica.ID, lasted time.Duration, err error) {
	l.entry.WithError(err).Warnf("could not send a snapshot to member %s%s; it is tried again", l.name(to), lastedFor(lasted))
}

// SnapshotSent implements transfer.Events.
func (l Log) SnapshotSent(to replica.ID, index raft.Index) {
	l.entry.Infof("sent a snapshot at index %d or later to member %s", index, l.name(to))
}

// VersionSet is logged when the cluster version changes.
func (l Log) VersionSet(before, now string) {
	if before == "" {
		l.entry.Infof("etcdserver: set the initial cluster version to %s", strings.TrimSuffix(now, ".0"))
		return
	}
	l.entry.Infof("updated the cluster version from %s to %s", strings.TrimSuffix(before, ".0"), strings.TrimSuffix(now, ".0"))
}

// AppliedAll is logged when a forced start applies entries that may not be committed.
func (l Log) AppliedAll(last, commit raft.Index) {
	l.entry.Warnf("the log is used up to its last entry, %d; entries up to %d are known to be committed", last, commit)
}

// Forced is logged when a member founds a new cluster from its data.
func (l Log) Forced(self, before, now replica.ID, index raft.Index) {
	l.entry.Warnf("force new cluster: member %v was of cluster %v, and is now alone in the NEW cluster %v, with the state of log index %d; members of the old cluster cannot join it: add them again, with empty data directories", self, before, now, index)
}

// ForcedBefore is logged when it has done so at an earlier start.
func (l Log) ForcedBefore() {
	l.entry.Warn("--force-new-cluster was carried out before, and has no effect: remove the flag")
}

// OtherPeerURLs is logged when the list of members has other peer URLs than the flag.
func (l Log) OtherPeerURLs(known, given []string) {
	l.entry.Warnf("the cluster knows this member at the peer URLs %s, and not at those of --initial-advertise-peer-urls, %s, which have no effect: the others connect to the former; to change them, PUT them to /v2/members/<id>",
		strings.Join(known, " "), strings.Join(given, " "))
}

// ForcedUnknown is logged when --force-peer-urls names somebody who is no member.
func (l Log) ForcedUnknown(unknown []string, members []replica.MemberInfo) {
	var known []string
	for _, info := range members {
		known = append(known, fmt.Sprintf("%s (%v)", info.Name, info.ID))
	}
	l.entry.Errorf("--force-peer-urls names %s, but there is no such member: the members are %s", strings.Join(unknown, ", "), strings.Join(known, ", "))
}

// NotReaddressed is logged when the peer URLs of --force-peer-urls could not be proposed.
func (l Log) NotReaddressed(err error) {
	l.entry.WithError(err).Warn("could not put the peer URLs of --force-peer-urls into the list of members; trying again")
}

// Readdressed is logged when the list of members has them.
func (l Log) Readdressed() {
	l.entry.Warn("the list of members has the peer URLs of --force-peer-urls now: remove the flag")
}

// ReaddressNotRecorded is logged when that cannot be stored.
func (l Log) ReaddressNotRecorded(err error) {
	l.entry.WithError(err).Warn("could not record in the data directory that --force-peer-urls was carried out: remove the flag before members move again")
}

// ForcedURLsBefore is logged when the list of --force-peer-urls was carried out at an earlier start.
func (l Log) ForcedURLsBefore() {
	l.entry.Warn("--force-peer-urls was carried out before, and has no effect: remove the flag")
}

// ForcedURLs is logged when members are dialled at the URLs of --force-peer-urls.
func (l Log) ForcedURLs(text string) {
	l.entry.Warnf("--force-peer-urls: members are dialed at %s, until the list of members has these URLs", text)
}
