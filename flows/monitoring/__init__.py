"""Whether data, answers, outcomes and jobs are as they were: measured, kept, and told of where they are not."""
