"""proxlb-plan."""
