package process

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
)

// S41: packages have levels of their own; who has none keeps the usual one.
func TestPackageLevels(t *testing.T) {
	speak := func(flag string, all bool) string {
		var out bytes.Buffer
		logger := logrus.New()
		logger.SetOutput(&out)
		logger.SetFormatter(&logrus.TextFormatter{DisableTimestamp: true})
		if err := setPackageLevels(logger, flag); err != nil {
			logger.Warn(err)
		}
		if all {
			setLevel(logger, logrus.DebugLevel)
		}
		for _, entry := range []*logrus.Entry{logrus.NewEntry(logger), logger.WithField("pkg", "etcdserver"), logger.WithField("pkg", "rafthttp")} {
			entry.Debug("d")
			entry.Info("i")
			entry.Error("e")
		}
		var said strings.Builder
		for line := range strings.Lines(out.String()) {
			fields := strings.Fields(line)
			said.WriteString(strings.TrimPrefix(fields[1], "msg="))
			if len(fields) > 2 && strings.HasPrefix(fields[2], "pkg=") {
				said.WriteString(":" + fields[2][4:8])
			}
			said.WriteString(" ")
		}
		return strings.TrimSpace(said.String())
	}
	for _, c := range []struct {
		flag string
		all  bool
		want string
	}{
		{"", false, "i e i:etcd e:etcd i:raft e:raft"},
		{"etcdserver=ERROR,rafthttp=DEBUG", false, "i e e:etcd d:raft i:raft e:raft"},
		{"etcdmain=CRITICAL", false, "i:etcd e:etcd i:raft e:raft"},
		{"*=ERROR,rafthttp=NOTICE", false, "e e:etcd i:raft e:raft"},
		{"etcdserver=ERROR", true, "d i e d:etcd i:etcd e:etcd d:raft i:raft e:raft"},
	} {
		if got := speak(c.flag, c.all); got != c.want {
			t.Errorf("%q: %s, want %s", c.flag, got, c.want)
		}
	}
	for _, wrong := range []string{"etcdserver", "etcdserver=LOUD", "=,"} {
		if err := setPackageLevels(logrus.New(), wrong); err == nil || !strings.Contains(err.Error(), "continuing with default levels") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}
