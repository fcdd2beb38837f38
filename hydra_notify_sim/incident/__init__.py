"""What a live Hydra's database shows of its notifications, for people who run one."""
