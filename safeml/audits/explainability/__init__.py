"""The stage *explainability*."""
