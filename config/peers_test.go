package config

import (
	"testing"
)

func TestSamePeers(t *testing.T) { // B29
	names := lookupTable(map[string][]string{"one.example": {"10.0.0.1", "10.0.0.2"}})
	for _, tt := range []struct {
		x, y []string
		want bool
	}{
		{[]string{"http://a:1", "http://b:2"}, []string{"http://b:2", "http://a:1"}, true},
		{[]string{"http://a:1"}, []string{"http://a:1", "http://b:2"}, false},
		{[]string{"http://one.example:1"}, []string{"http://10.0.0.2:1"}, true},
		{[]string{"http://one.example:1"}, []string{"http://10.0.0.3:1"}, false},
		{[]string{"foo"}, []string{"foo"}, false},
		{nil, nil, false},
	} {
		if got := SamePeers(tt.x, tt.y, names); got != tt.want {
			t.Errorf("SamePeers(%v, %v) = %v, want %v", tt.x, tt.y, got, tt.want)
		}
	}
}
