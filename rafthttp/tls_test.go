package rafthttp

import (
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"canopy/internal/tlsconf"
	"canopy/internal/tlsconf/certtest"
)

// certificates are those of all members while tests run over TLS; nil: they run without.
var certificates *tlsconf.Current

// serveTLS gives a member that does not run yet a port with TLS.
func (n *node) serveTLS(c *tlsconf.Current) {
	n.listener = c.Listener(n.listener)
	n.url = strings.Replace(n.url, "http:", "https:", 1)
}

// mutual opens the certificate that an authority issues to a member whose peers need one of the same authority.
func mutual(t testing.TB, a *certtest.Authority) *tlsconf.Current {
	t.Helper()
	f := certtest.NewFolder(t)
	cert, key := f.Issue(a, "peer")
	return opened(t, tlsconf.Files{Cert: tlsconf.File{Name: cert}, Key: tlsconf.File{Name: key}, Authorities: []tlsconf.File{{Name: f.Write("ca", a.PEM())}}})
}

func opened(t testing.TB, files tlsconf.Files) *tlsconf.Current {
	t.Helper()
	logger := logrus.New()
	logger.SetOutput(t.Output())
	c, err := tlsconf.Open(files, tlsconf.Policy{Demanded: true}, tlsconf.Use{Serves: true, Dials: true}, logger)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestOverTLS runs the tests of streams and snapshots once more, with mutual TLS.
func TestOverTLS(t *testing.T) {
	certificates = mutual(t, certtest.NewAuthority(t, "peers"))
	defer func() { certificates = nil }()
	for name, test := range map[string]func(*testing.T){
		"messages arrive in order":                  TestMessagesArriveInOrder,
		"order and contents survive load":           TestOrderAndContentsSurviveLoad,
		"bulk does not delay heartbeats":            TestBulkDoesNotDelayHeartbeats,
		"a stuck peer blocks no other":              TestAStuckPeerBlocksNoOther,
		"a peer that starts again is found again":   TestPeerThatStartsAgainIsFoundAgain,
		"changed URLs are dialled at once":          TestChangedURLsAreDialledAtOnce,
		"the URL of another member is skipped":      TestURLOfAnotherMemberIsSkipped,
		"a loss is reported":                        TestALossIsReported,
		"crossed clusters stay apart":               TestCrossedClustersStayApart,
		"another incarnation is refused":            TestAnotherIncarnationIsRefused,
		"nothing runs after Run":                    TestNothingRunsAfterRun,
		"a snapshot goes from disk to disk":         TestSnapshotGoesFromDiskToDisk,
		"an interrupted snapshot fails":             TestInterruptedSnapshotFailsOnBothSides,
		"few snapshots are received at once":        TestFewSnapshotsAreReceivedAtOnce,
		"a snapshot that is not needed is not sent": TestSnapshotThatIsNotNeededIsNotSent,
	} {
		t.Run(name, test)
	}
}
