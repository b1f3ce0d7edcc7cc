package machinelearning

import (
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
)

// A compute of the types below is attached: it stands for a machine, a cluster or a
// pool that another service of Azure has. Azimuth has none of those services. Such a
// compute would run nothing, so that none is made: what is wrong with a request is
// said as for any compute, and then what is missing.

// attachedType is a type of computes that the service does not make itself.
type attachedType struct {
	name string
	// of is the type of the resource that it stands for, "" where that has no ARM ID.
	of string
	// what says what Azimuth lacks.
	what string
}

func attachedTypes() []attachedType {
	return []attachedType{
		{"AKS", "Microsoft.ContainerService/managedClusters", "clusters of Azure Kubernetes Service"},
		{"Kubernetes", "", "clusters of Azure Kubernetes Service and of Azure Arc"},
		{"SynapseSpark", "Microsoft.Synapse/workspaces/bigDataPools", "Spark pools of Azure Synapse"},
		{"VirtualMachine", "Microsoft.Compute/virtualMachines", "virtual machines"},
		{"HDInsight", "Microsoft.HDInsight/clusters", "clusters of HDInsight"},
		{"Databricks", "Microsoft.Databricks/workspaces", "workspaces of Databricks"},
		{"DataFactory", "Microsoft.DataFactory/factories", "data factories"},
		{"DataLakeAnalytics", "Microsoft.DataLakeAnalytics/accounts", "accounts of Data Lake Analytics"},
	}
}

// refuseAttached is the answer to a compute of a type that is none of Azimuth's.
func refuseAttached(put *arm.Put, kind string) error {
	all := attachedTypes()
	i := slices.IndexFunc(all, func(t attachedType) bool { return strings.EqualFold(t.name, kind) })
	if i < 0 {
		return invalid("properties.computeType", "The compute type '%s' is not known.", kind)
	}
	t := all[i]
	if e := put.Existing; e != nil {
		return invalid("properties.computeType", "Compute '%s' is of type %s, which cannot be changed to %s.", put.ID.Name(), kindOf(e), t.name)
	}
	if err := checkAttachedName(put.ID.Name()); err != nil {
		return err
	}
	const path = "properties.resourceId"
	id := put.Resource.Body.String(path)
	if id == "" {
		return arm.NotImplemented("computes of type '%s': it has no %s, and makes none", t.name, t.what)
	}
	parsed, err := arm.ParseID(id)
	if err != nil || t.of != "" && !strings.EqualFold(parsed.Type(), t.of) {
		return invalid(path, "The property 'resourceId' is '%s', which is not the ID of a resource of type %s.", id, t.of)
	}
	return arm.NotImplemented("computes of type '%s': it has no %s, such as '%s'", t.name, t.what, id)
}

// checkAttachedName applies the rule for names of computes that are attached, in the
// service's words (MicrosoftDocs/azure-docs#55961).
func checkAttachedName(name string) error {
	ok := len(name) >= 2 && len(name) <= 16 && isLetter(name[0]) && name[len(name)-1] != '-'
	for i := 0; i < len(name); i++ {
		ok = ok && (name[i] == '-' || isLetter(name[i]) || '0' <= name[i] && name[i] <= '9')
	}
	if !ok {
		return invalid("name", "Compute name is invalid. It can include letters, digits and dashes. It must start with a letter, end with a letter or digit, and be between 2 and 16 characters in length.")
	}
	return nil
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
