package etcdserver

import (
	"fmt"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/etcdserver/replica"
	"canopy/raft"
)

// memberLog writes the lines that operators look for. The words after the
// package's name are those of the reference (F30).
type memberLog struct {
	entry *logrus.Entry
	title func(ID) string // names another member; nil: by its id alone
}

// lastedFor is the part of a line that says how long a condition has lasted.
func lastedFor(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf(", for %v", d)
}

// name is how log lines call a member.
func (l memberLog) name(id ID) string {
	if l.title == nil {
		return id.String()
	}
	return l.title(id)
}

func newMemberLog(l *logrus.Logger, self, cluster ID, title func(ID) string) memberLog {
	return memberLog{title: title, entry: l.WithFields(logrus.Fields{"pkg": "etcdserver", "member": self.String(), "cluster": cluster.String()})}
}

// starting logs how new the log is. After the loss of a cluster, operators compare the members by that.
func (l memberLog) starting(self, cluster ID, fresh bool, s raft.Status) {
	how := "restarting"
	if fresh {
		how = "starting"
	}
	l.entry.Infof("%s member %v in cluster %v at commit index %d, last entry %d of term %d", how, self, cluster, s.Commit, s.Last, s.LastTerm)
}

func (l memberLog) Recovered(index raft.Index) {
	l.entry.Infof("recovered store from snapshot at index %d", index)
}

func (l memberLog) SnapshotPutAside(file string, err error) {
	l.entry.WithError(err).Errorf("snapshot %s cannot be loaded and was put aside as .broken; an older state and the log since then were used instead", file)
}

// MemberChanged logs a change of the list when it is applied.
func (l memberLog) MemberChanged(c *replica.Change, self, cluster ID) {
	switch c.Op {
	case raft.AddVoter, raft.AddLearner:
		l.memberAdded(c.Member, self, cluster)
	case raft.UpdateContext:
		if c.Known {
			l.memberUpdated(c.Member)
		}
	case raft.Promote:
		l.promoted(c.Member.ID)
	case raft.Remove:
		l.memberRemoved(c.Member.ID, about(c.Member), cluster)
	}
}

func (l memberLog) memberAdded(m MemberInfo, self, cluster ID) {
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

func (l memberLog) serving(clusterVersion string) {
	if clusterVersion == "" {
		clusterVersion = "to_be_decided"
	}
	l.entry.Infof("starting server... [version: %s, cluster version: %s]", APIVersion, clusterVersion)
}

func (l memberLog) elected(leader, self ID, term raft.Term) {
	l.entry.Infof("raft.node: %v elected leader %v at term %d: %s leads", self, leader, term, l.name(leader))
}

// role logs each step of an election.
func (l memberLog) role(role raft.Role, leader ID, term raft.Term) {
	name := "unknown"
	if leader != 0 {
		name = l.name(leader)
	}
	l.entry.Debugf("raft: this member is %v at term %d, the leader is %s", role, term, name)
}

func (l memberLog) slowApply(entries int, took time.Duration) {
	l.entry.Debugf("applying %d entries took %v", entries, took)
}

func (l memberLog) slowRequest(id uint64, took time.Duration, err error) {
	l.entry.WithError(err).Debugf("request %x waited %v for its entry", id, took)
}

// SnapshotSending implements transfer.Events.
func (l memberLog) SnapshotSending(to ID, index raft.Index) {
	l.entry.Debugf("sending a snapshot at index %d or later to member %s", index, l.name(to))
}

func (l memberLog) slowDisk(lasted, slowest time.Duration) {
	l.entry.Warnf("the disk is slow%s: a sync of the log took %v, longer than the election time-out; see etcd_disk_wal_fsync_duration_seconds", lastedFor(lasted), slowest.Round(time.Millisecond))
}

func (l memberLog) fastAgain(lasted time.Duration) {
	l.entry.Infof("the disk is fast again, after %v: no sync of the log was slow for a minute", lasted)
}

// resigned logs that a leader has ended its term in good order.
func (l memberLog) resigned(leader, self ID, term raft.Term) {
	l.entry.Infof("raft.node: %v lost leader %v at term %d: %s no longer leads", self, leader, term, l.name(leader))
}

func (l memberLog) lostLeader(leader, self ID, term raft.Term, silent time.Duration, r reach) {
	l.entry.Warnf("raft.node: %v lost leader %v at term %d: %s was cut off for %v; %v", self, leader, term, l.name(leader), silent.Round(time.Millisecond), r)
}

func (l memberLog) leaderless(lasted time.Duration, r reach) {
	l.entry.Warnf("there is no leader%s: %v; writes and quorum reads wait for one, and time out", lastedFor(lasted), r)
}

func (l memberLog) ledAgain(lasted time.Duration, leader string) {
	l.entry.Infof("there is a leader again, after %v: %s leads", lasted, leader)
}

func (l memberLog) unreachable(member string, lasted time.Duration, err error) {
	l.entry.Warnf("member %s is not reachable%s%s", member, lastedFor(lasted), reasonOf(err))
}

func (l memberLog) reachable(member string, lasted time.Duration) {
	l.entry.Infof("member %s is reachable again, after %v", member, lasted)
}

func (l memberLog) published(name string, clientURLs []string, cluster ID) {
	l.entry.Infof("etcdserver: published {Name:%s ClientURLs:[%s]} to cluster %v", name, strings.Join(clientURLs, " "), cluster)
}

func (l memberLog) unpublished(lasted time.Duration, err error, r reach) {
	l.entry.WithError(err).Warnf("publish error%s: the cluster has not taken this member's name and client URLs, and it is tried again: %v", lastedFor(lasted), r)
}

func (l memberLog) snapshotSaved(index raft.Index) {
	l.entry.Infof("saved snapshot at index %d", index)
}

// SnapshotFailed implements snapshotter.Events.
func (l memberLog) SnapshotFailed(index raft.Index, err error) {
	l.entry.WithError(err).Errorf("could not save a snapshot at index %d; the log is kept, and it is tried again", index)
}

func (l memberLog) snapshotUnusable(index raft.Index, err error) {
	l.entry.WithError(err).Errorf("the snapshot that was saved at index %d cannot be loaded and was put aside as .broken; older snapshots and the log are kept, and the log grows until a snapshot is good: report this, and watch the free space of the disk", index)
}

func (l memberLog) spoiledOnArrival(index raft.Index, err error) {
	l.entry.WithError(err).Errorf("the snapshot that the leader sent for index %d cannot be loaded and was put aside as .broken; nothing was changed", index)
}

func (l memberLog) full(lasted time.Duration) {
	l.entry.Errorf("the disk is full%s: writes are refused, reads, deletes and expiry go on, until there is room", lastedFor(lasted))
}

func (l memberLog) roomAgain(lasted time.Duration) {
	l.entry.Infof("there is room on the disk again, after %v: writes are accepted", lasted)
}

func (l memberLog) Tightened(dir string) {
	l.entry.Warnf("others could read %s: its mode is now 0700", dir)
}

func (l memberLog) Strange(dir string, names []string) {
	for _, name := range names {
		l.entry.Warnf("found invalid file/dir %s under data dir %s (it is ignored)", name, dir)
	}
}

func (l memberLog) memberUpdated(m MemberInfo) {
	l.entry.Infof("updated member %v: its peer URLs are %s now", m.ID, strings.Join(m.PeerURLs, " "))
}

func (l memberLog) memberRemoved(id ID, about string, cluster ID) {
	l.entry.Infof("removed member %v from cluster %v: %s", id, cluster, about)
}

func (l memberLog) promoted(id ID) {
	l.entry.Infof("member %s has caught up and is a voter now", l.name(id))
}

func (l memberLog) sameName(name string, id, other ID) {
	l.entry.Warnf("members %v and %v have the same name %q", id, other, name)
}

func (l memberLog) removed(index raft.Index) {
	l.entry.Errorf("the member has been permanently removed from the cluster (by entry %d)", index)
	l.entry.Info("the data-dir used by this member must be removed.")
}

func (l memberLog) endNotRecorded(err error) {
	l.entry.WithError(err).Warn("could not record in the data directory that the member must not run again; it learns this again at the next start")
}

// Differs implements consistency.Events.
func (l memberLog) Differs(d Difference, differs bool) {
	if differs {
		l.entry.Errorf("the state of member %s at index %d differs from that of this member: one of them is damaged", l.name(d.Member), d.Index)
		return
	}
	l.entry.Infof("the state of member %s is that of this member again, or the member was removed", l.name(d.Member))
}

// LeadershipYielded implements raftloop.Events.
func (l memberLog) LeadershipYielded() {
	l.entry.Warn("the disk is full: leadership is handed over to another member")
}

func (l memberLog) named(by ID, peers []MemberInfo) {
	for _, info := range peers {
		l.entry.Infof("member %s reports member %s, which is not in the log of this member yet", l.name(by), titleOf(info))
	}
}

func (l memberLog) doubted(by ID, index raft.Index) {
	l.entry.Warnf("ignored the report of member %s that entry %d removed this member: the entry was applied here, and did not", l.name(by), index)
}

func (l memberLog) messageRefused(err error) {
	l.entry.WithError(err).Debug("a message from another member was refused") // counted: canopy_raft_refused_total
}

func (l memberLog) badEnvelope(from ID, err error) {
	l.entry.WithError(err).Warnf("an envelope from member %s, or a request in it, was refused", l.name(from))
}

// ChangeUnreadable implements raftloop.Events.
func (l memberLog) ChangeUnreadable(from ID, err error) {
	l.entry.WithError(err).Warnf("a membership change from member %s cannot be read", l.name(from))
}

// PeerURLTaken implements raftloop.Events.
func (l memberLog) PeerURLTaken(owner ID, urls []string) {
	l.entry.Warnf("a membership change was refused: member %s has one of the peer URLs %s", l.name(owner), strings.Join(urls, " "))
}

// RiskyChange implements raftloop.Events.
func (l memberLog) RiskyChange(err error) {
	l.entry.WithError(err).Warn("a membership change that endangers the quorum is made, since --strict-reconfig-check is off")
}

func (l memberLog) installed(index raft.Index) {
	l.entry.Infof("recovered from incoming snapshot at index %d", index)
}

// SnapshotNotSent implements transfer.Events.
func (l memberLog) SnapshotNotSent(to ID, lasted time.Duration, err error) {
	l.entry.WithError(err).Warnf("could not send a snapshot to member %s%s; it is tried again", l.name(to), lastedFor(lasted))
}

// SnapshotSent implements transfer.Events.
func (l memberLog) SnapshotSent(to ID, index raft.Index) {
	l.entry.Infof("sent a snapshot at index %d or later to member %s", index, l.name(to))
}

func (l memberLog) versionSet(before, now string) {
	if before == "" {
		l.entry.Infof("etcdserver: set the initial cluster version to %s", strings.TrimSuffix(now, ".0"))
		return
	}
	l.entry.Infof("updated the cluster version from %s to %s", strings.TrimSuffix(before, ".0"), strings.TrimSuffix(now, ".0"))
}

func (l memberLog) AppliedAll(last, commit raft.Index) {
	l.entry.Warnf("the log is used up to its last entry, %d; entries up to %d are known to be committed", last, commit)
}

func (l memberLog) Forced(self, before, now ID, index raft.Index) {
	l.entry.Warnf("force new cluster: member %v was of cluster %v, and is now alone in the NEW cluster %v, with the state of log index %d; members of the old cluster cannot join it: add them again, with empty data directories", self, before, now, index)
}

func (l memberLog) ForcedBefore() {
	l.entry.Warn("--force-new-cluster was carried out before, and has no effect: remove the flag")
}

func (l memberLog) otherPeerURLs(known, given []string) {
	l.entry.Warnf("the cluster knows this member at the peer URLs %s, and not at those of --initial-advertise-peer-urls, %s, which have no effect: the others connect to the former; to change them, PUT them to /v2/members/<id>",
		strings.Join(known, " "), strings.Join(given, " "))
}
