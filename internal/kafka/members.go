package kafka

import (
	"fmt"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
)

// namedMembers is how many members Members names.
const namedMembers = 8

// Members names members of a group for people, each as its client id, its host and its member id, which is what the
// member's own log calls it.
func Members(members []kadm.DescribedGroupMember) string {
	var names []string
	for _, m := range members[:min(len(members), namedMembers)] {
		host := strings.TrimPrefix(m.ClientHost, "/") // as Java writes an address
		if alone, _, err := net.SplitHostPort(host); err == nil {
			host = alone
		}
		names = append(names, fmt.Sprintf("%s at %s (%s)", m.ClientID, host, m.MemberID))
	}
	if more := len(members) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
