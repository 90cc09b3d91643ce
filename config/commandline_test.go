package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheCommandLineHidesSecrets(t *testing.T) {
	got := CommandLine(strings.Fields("canopy --discovery=http://u:geheim@h/tok -discovery-proxy u:geheim@p:1 --name m1 --advertise-client-urls http://u:geheim@h:1 --discovery"))
	want := strings.Fields("canopy --discovery=xxxxx -discovery-proxy xxxxx --name m1 --advertise-client-urls http://u:xxxxx@h:1 --discovery")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("CommandLine (-want +got):\n%s", diff)
	}
}
