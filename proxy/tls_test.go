package proxy

import (
	"testing"

	"canopy/internal/tlsconf"
	"canopy/internal/tlsconf/certtest"
	"canopy/proxy/clustertest"
)

// certificates are those of proxies and servers while tests run over TLS; nil: they run without.
var certificates *tlsconf.Current

// TestOverTLS runs the tests of requests, bodies and watches once more, with mutual TLS between the proxy and the members.
func TestOverTLS(t *testing.T) {
	f, a := certtest.NewFolder(t), certtest.NewAuthority(t, "a")
	cert, key := f.Issue(a, "peer")
	log := &clustertest.Log{}
	var err error
	certificates, err = tlsconf.Open(tlsconf.Files{Cert: tlsconf.File{Name: cert}, Key: tlsconf.File{Name: key}, Authorities: []tlsconf.File{{Name: f.Write("ca", a.PEM())}}},
		tlsconf.Policy{Demanded: true}, tlsconf.Use{Serves: true, Dials: true}, log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	clustertest.TLS = certificates.Server()
	defer func() { certificates, clustertest.TLS = nil, nil }()
	for name, test := range map[string]func(*testing.T){
		"stickiness":        TestStickiness,
		"a frozen member":   TestFrozenMember,
		"members that move": TestMembersThatMove,
		"nothing is dropped while members restart":    TestNothingIsDroppedWhileMembersRestart,
		"a joining watch gets no old events":          TestAJoiningWatchGetsNoOldEvents,
		"watches that are not shared":                 TestWatchesThatAreNotShared,
		"shared watches are one":                      TestSharedWatchesAreOne,
		"another member continues a shared feed":      TestAnotherMemberContinuesASharedFeed,
		"a shared feed that breaks":                   TestASharedFeedThatBreaks,
		"shared watches get the same events as alone": TestSharedWatchesGetTheSameEventsAsAlone,
		"requests arrive unchanged":                   TestRequestsArriveUnchanged,
		"answers arrive unchanged":                    TestAnswersArriveUnchanged,
		"a cut answer is cut":                         TestACutAnswerIsCut,
		"nothing is written twice":                    TestNothingIsWrittenTwice,
		"large bodies":                                TestLargeBodies,
		"another member gets a large body":            TestAnotherMemberGetsALargeBody,
		"abandoned requests":                          TestAbandonedRequests,
		"no request is smuggled":                      TestNoRequestIsSmuggled,
		"watches leave a frozen member":               TestWatchesLeaveAFrozenMember,
		"no connection is reset under a client":       TestNoConnectionIsResetUnderAClient,
		"a connection is reused after a watch":        TestAConnectionIsReusedAfterAWatch,
		"requests wait for the first endpoint":        TestRequestsWaitForTheFirstEndpoint,
		"watches are immediate":                       TestWatchesAreImmediate,
		"watches end with their clients":              TestWatchesEndWithTheirClients,
		"another member continues watches":            TestAnotherMemberContinuesWatches,
		"broken watches are cut":                      TestBrokenWatchesAreCut,
		"a complete answer stays complete":            TestACompleteAnswerStaysComplete,
		"cut watches leave nothing":                   TestCutWatchesLeaveNothing,
	} {
		t.Run(name, test)
	}
}
