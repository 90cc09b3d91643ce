package etcdserver

import (
	"strings"

	"github.com/sirupsen/logrus"

	"canopy/raft"
)

// memberLog writes the lines that operators look for. The words after the
// package's name are those of the reference (F30).
type memberLog struct {
	entry *logrus.Entry
}

func newMemberLog(l *logrus.Logger, self, cluster ID) memberLog {
	return memberLog{entry: l.WithFields(logrus.Fields{"pkg": "etcdserver", "member": self.String(), "cluster": cluster.String()})}
}

func (l memberLog) starting(self, cluster ID, fresh bool, commit raft.Index) {
	if fresh {
		l.entry.Infof("starting member %v in cluster %v", self, cluster)
		return
	}
	l.entry.Infof("restarting member %v in cluster %v at commit index %d", self, cluster, commit)
}

func (l memberLog) recovered(index raft.Index) {
	l.entry.Infof("recovered store from snapshot at index %d", index)
}

func (l memberLog) quarantined(file string, err error) {
	l.entry.WithError(err).Warnf("snapshot %s cannot be read and was put aside; the one before it is tried", file)
}

func (l memberLog) memberAdded(m MemberInfo, self, cluster ID) {
	which := "member"
	if m.ID == self {
		which = "local member"
	}
	l.entry.Infof("added %s %v [%s] to cluster %v", which, m.ID, strings.Join(m.PeerURLs, " "), cluster)
}

func (l memberLog) serving(clusterVersion string) {
	if clusterVersion == "" {
		clusterVersion = "to_be_decided"
	}
	l.entry.Infof("starting server... [version: %s, cluster version: %s]", APIVersion, clusterVersion)
}

func (l memberLog) elected(leader, self ID, term raft.Term) {
	switch {
	case leader == 0:
		l.entry.Warnf("lost the leader at term %d", term)
	default:
		l.entry.Infof("raft.node: %v elected leader %v at term %d", self, leader, term)
	}
}

func (l memberLog) published(name string, clientURLs []string, cluster ID) {
	l.entry.Infof("published {Name:%s ClientURLs:[%s]} to cluster %v", name, strings.Join(clientURLs, " "), cluster)
}

func (l memberLog) unpublished(err error) {
	l.entry.WithError(err).Warn("publish error")
}

func (l memberLog) snapshotSaved(index raft.Index) {
	l.entry.Infof("saved snapshot at index %d", index)
}

func (l memberLog) snapshotFailed(index raft.Index, err error) {
	l.entry.WithError(err).Errorf("could not save a snapshot at index %d; the log is kept, and it is tried again", index)
}

func (l memberLog) space(full bool) {
	if full {
		l.entry.Error("the disk is full: writes are refused, reads, deletes and expiry go on, until there is room")
		return
	}
	l.entry.Warn("there is room on the disk again: writes are accepted")
}

func (l memberLog) tightened(dir string) {
	l.entry.Warnf("others could read %s: its mode is now 0700", dir)
}

func (l memberLog) strange(dir string, names []string) {
	for _, name := range names {
		l.entry.Warnf("found invalid file/dir %s under data dir %s (it is left alone)", name, dir)
	}
}

func (l memberLog) memberUpdated(m MemberInfo) {
	l.entry.Infof("updated member %v: its peer URLs are %s now", m.ID, strings.Join(m.PeerURLs, " "))
}

func (l memberLog) memberRemoved(id, cluster ID) {
	l.entry.Infof("removed member %v from cluster %v", id, cluster)
}

func (l memberLog) promoted(id ID) {
	l.entry.Infof("member %v has caught up and is a voter now", id)
}

func (l memberLog) sameName(name string, id, other ID) {
	l.entry.Warnf("members %v and %v have the same name %q", id, other, name)
}

func (l memberLog) removed(index raft.Index) {
	l.entry.Errorf("the member has been permanently removed from the cluster (by entry %d)", index)
	l.entry.Info("the data-dir used by this member must be removed.")
}

func (l memberLog) unmarked(err error) {
	l.entry.WithError(err).Warn("could not note in the data directory that the member is not to run again; it learns of it again at the next start")
}

func (l memberLog) differs(d Difference, differs bool) {
	if differs {
		l.entry.Errorf("the state of member %v at index %d is not the one of this member: one of them is damaged", d.Member, d.Index)
		return
	}
	l.entry.Infof("the state of member %v is the one of this member again, or the member is gone", d.Member)
}

func (l memberLog) makesWay() {
	l.entry.Warn("the disk is full: leadership is handed over to another member")
}

func (l memberLog) named(by ID, strangers []MemberInfo) {
	for _, info := range strangers {
		l.entry.Infof("member %v names member %v at %s, of which the log has not told here yet", by, info.ID, strings.Join(info.PeerURLs, " "))
	}
}

func (l memberLog) doubted(by ID, index raft.Index) {
	l.entry.Warnf("member %v says that this member was removed by entry %d, which was applied here and did not: not believed", by, index)
}

func (l memberLog) refused(err error) {
	l.entry.WithError(err).Debug("a message of another member was refused") // counted: canopy_raft_refused_total
}

func (l memberLog) badNote(from ID, err error) {
	l.entry.WithError(err).Warnf("a request that member %v passed on was refused", from)
}

func (l memberLog) badChange(from ID, err error) {
	l.entry.WithError(err).Warnf("a membership change asked by %v cannot be read", from)
}

func (l memberLog) urlTaken(owner ID, urls []string) {
	l.entry.Warnf("a membership change was refused: member %v has one of the peer URLs %s", owner, strings.Join(urls, " "))
}

func (l memberLog) risky(err error) {
	l.entry.WithError(err).Warn("a membership change that endangers the quorum is made, since --strict-reconfig-check is off")
}

func (l memberLog) installed(index raft.Index) {
	l.entry.Infof("recovered from incoming snapshot at index %d", index)
}

func (l memberLog) delivered(to ID, index raft.Index, err error) {
	if err != nil {
		l.entry.WithError(err).Warnf("could not send a snapshot to member %v; it is tried again", to)
		return
	}
	l.entry.Infof("sent a snapshot at index %d or later to member %v", index, to)
}

func (l memberLog) versionSet(before, now string) {
	if before == "" {
		l.entry.Infof("set the initial cluster version to %s", strings.TrimSuffix(now, ".0"))
		return
	}
	l.entry.Infof("updated the cluster version from %s to %s", strings.TrimSuffix(before, ".0"), strings.TrimSuffix(now, ".0"))
}

func (l memberLog) settled(last, commit raft.Index) {
	l.entry.Warnf("the log is taken up to its last entry, %d; up to %d it is known to be committed", last, commit)
}

func (l memberLog) forced(self, before, now ID, index raft.Index) {
	l.entry.Warnf("force new cluster: member %v was of cluster %v, and is now alone in the NEW cluster %v, with the state of log index %d; members of the old cluster cannot join it: add them anew, with empty data directories", self, before, now, index)
}

func (l memberLog) forcedBefore() {
	l.entry.Warn("--force-new-cluster was carried out before, and has no effect: remove the flag")
}

func (l memberLog) otherPeerURLs(known, given []string) {
	l.entry.Warnf("the cluster knows this member by the peer URLs %s, and not by those of --initial-advertise-peer-urls, %s, which have no effect; to change them, PUT them to /v2/members/<id>",
		strings.Join(known, " "), strings.Join(given, " "))
}
