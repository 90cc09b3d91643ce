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

func (l memberLog) memberAdded(m MemberInfo) {
	l.entry.Infof("added member %v [%s] to cluster", m.ID, strings.Join(m.PeerURLs, " "))
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

func (l memberLog) versionSet(v string) {
	l.entry.Infof("set the initial cluster version to %s", strings.TrimSuffix(v, ".0"))
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
